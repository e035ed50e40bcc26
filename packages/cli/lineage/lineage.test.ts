/**
 * A student with all that it came from, made by what makes it in service; then one thing after another is altered. The file is longer than 400
 * lines because everything in it breaks this one chain, which takes seconds to make.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Purpose, Source, Split, Verdict } from '@understudy/contract';
import {
  type Decision,
  DecisionSchema,
  DeployerService,
  type Deployment,
  DeploymentSchema,
} from '@understudy/contract/deployer';
import { EvaluatorService, GetReportResponseSchema } from '@understudy/contract/evaluator';
import { PromptService, type RunState, RunStateSchema } from '@understudy/contract/prompt';
import { decisionOfMove } from '@understudy/deployer/decisions';
import { promotionOf } from '@understudy/deployer/moves';
import { planOf } from '@understudy/deployer/plan';
import { type Report, ReportSchema } from '@understudy/evaluator/report';
import { responseOf } from '@understudy/evaluator/routes/response';
import { corpus, keepStudent, keepTask, smallTraining } from '@understudy/evaluator/testing/corpus';
import { eraseSnapshots } from '@understudy/pair-store/erasure/erase-snapshots';
import { COLUMN_NAMES, parquetOf, type SnapshotRow } from '@understudy/pair-store/snapshot/columns';
import { putManifest } from '@understudy/pair-store/snapshot/manifest';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { createClient } from '@understudy/service/rpc/client';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import { type Key, readSigningKey, readTrustedKeys } from '@understudy/service/signatures/keys';
import { keepSigned, signatureName } from '@understudy/service/signatures/statements';
import { keyFiles } from '@understudy/service/signatures/testing';
import { Telemetry } from '@understudy/service/telemetry';
import { policyJson, reportStatement, studentStatement, type Trusted, writeBundle } from '@understudy/student';
import { openArchive } from '@understudy/student/archive';
import { type CompiledTask, canonicalJson, pairId, promptIdOf, sha256Hex } from '@understudy/task';
import { rowDigest, TableDigest } from '@understudy/task/row-digest';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Platform } from './bus.ts';
import type { StepName } from './steps.ts';
import { brokenStep, walk } from './walk.ts';

const fingerprint = 'f'.repeat(64);
const names = { [Split.TRAIN]: 'train', [Split.DEV]: 'dev', [Split.TEST]: 'test' } as const;
const utf8 = (text: string) => new TextEncoder().encode(text);

let root: string;
let folder: string;
let blobs: FolderBlobStore;
let task: CompiledTask;
let rows: SnapshotRow[];
let snapshot: Awaited<ReturnType<typeof keepSnapshot>>;
let [student, policy, reportDigest] = ['', '', ''];
let report: Report;

/** Rows as the pair store seals them. */
const rowsOf = (compiled: CompiledTask): SnapshotRow[] =>
  corpus({ seed: 3, train: 60, dev: 20, test: 20 })
    .map(({ pair, split, groupId, weight }) => {
      const { promptId, inputJson, text } = compiled.renderPrompt(JSON.parse(pair!.inputJson));
      return {
        ...{ pair_id: pairId(promptId, fingerprint, 0), prompt_id: promptId, group_id: sha256Hex(groupId) },
        ...{
          split: names[split as keyof typeof names],
          weight,
          text,
          input_json: inputJson,
          answer_json: pair!.answerJson,
        },
        ...{
          soft: '{}',
          reference_json: null,
          purpose: Purpose.LABEL,
          origin: 'mail.jsonl',
          source: Source.RANDOM,
          fingerprint,
        },
        ...{ sample_number: 0, input_tokens: 1n, output_tokens: 1n, spent_micro_usd: 0n, duration_us: 1n, calls: 1 },
        answered_at_us: 1_800_000_000_000_000n,
        settled: '',
        salt: promptId.slice(0, 32),
        erased_digest: null,
      };
    })
    .sort((a, b) => (a.pair_id < b.pair_id ? -1 : 1));

const keepSnapshot = async (chosen: readonly SnapshotRow[], of = task.task.name, version: 1 | 2 = 2) => {
  const table = await blobs.put(
    'snapshots',
    parquetOf(
      (async function* () {
        yield chosen;
      })(),
    ),
  );
  const inSplit = (name: string) => chosen.filter(({ split }) => split === name).length;
  const rowsDigest = new TableDigest();
  for (const row of chosen) rowsDigest.add(rowDigest({ ...row }, COLUMN_NAMES));
  const pairs = { digest: table, format: 'parquet', codec: 'zstd', rows: chosen.length } as const;
  const rest = {
    task: of,
    fingerprint,
    splits: { train: inSplit('train'), dev: inSplit('dev'), test: inSplit('test') },
    leftOut: { quarantined: 0, testDuplicates: 0, capped: 0, dropped: 0, retired: 0 },
    settled: 0,
    caps: [],
  };
  const digest = await putManifest(
    blobs,
    version === 1
      ? { version, ...rest, pairs }
      : { version, ...rest, pairs: { ...pairs, rowsDigest: rowsDigest.hex() } },
  );
  return { digest, table };
};

const keepPolicy = (studentDigest: string) => {
  const heads = [{ name: 'label', temperature: 1 }];
  return blobs.put('policies', utf8(policyJson({ version: 2, studentDigest, heads, threshold: 0.5 })));
};

const reportOf = (changes: Partial<Report> = {}): Report =>
  ReportSchema.parse({
    ...{ version: 1, task: task.task.name, taskDigest: task.digest, runId: 'run-1', seal: 1 },
    snapshot: { digest: snapshot.digest, fingerprint, trainPairs: 60, devPairs: 20, testPairs: 20 },
    student: { digest: student, family: 'bag', sizeBytes: 1_000 },
    goal: { agreement: 0.9, coverage: 0.7, confidence: 0.95, latencyMs: 500, sizeBytes: 1_000_000 },
    policy: { digest: policy, threshold: 0.5 },
    ...{ dev: null, test: null, costs: null, gates: [], evaluatedAt: '2026-03-04T05:06:07.000Z', evaluationMs: 1 },
    verdict: { passed: true, reason: 'it agrees', morePairs: 0 },
    machine: 'a test',
    ...changes,
  });
const keepReport = (changes: Partial<Report> = {}) => blobs.put('reports', utf8(canonicalJson(reportOf(changes))));

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'understudy-lineage-'));
  blobs = await FolderBlobStore.open(join(root, 'intact'));
  task = await keepTask(blobs);
  rows = rowsOf(task);
  snapshot = await keepSnapshot(rows);
  const training = smallTraining(corpus({ seed: 3, train: 60, dev: 20, test: 20 }), 2);
  student = (await keepStudent(blobs, training, task, snapshot.digest)).digest;
  policy = await keepPolicy(student);
  report = reportOf();
  reportDigest = await keepReport();
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'copy-'));
  await cp(join(root, 'intact'), folder, { recursive: true });
  blobs = await FolderBlobStore.open(folder);
});

/** Nobody's signature is asked for. */
const anyone = { students: undefined, reports: undefined };
const states = async (digest = student, platform?: Platform) =>
  (await walk(blobs, platform, digest, anyone, undefined)).steps.map(({ step, state }) => `${step} ${state}`);
const brokenAt = async (digest = student, platform?: Platform) =>
  brokenStep(await walk(blobs, platform, digest, anyone, undefined));

/** Another student with the same weights, which says that it came from elsewhere. */
const forgeStudent = async (lineage: object): Promise<string> => {
  const files = await openArchive(await blobs.get('students', student));
  const description = JSON.parse(new TextDecoder().decode(files.get('understudy.json')));
  const forged = { ...description, lineage: { ...description.lineage, ...lineage } };
  const { archive } = await writeBundle(new Map([...files, ['understudy.json', utf8(JSON.stringify(forged))]]));
  return blobs.put('students', archive);
};

describe('from the blobs alone', () => {
  const before = ['task verified', 'prompt verified', 'pair verified', 'split verified', 'snapshot verified'];

  test('an intact chain is verified as far as blobs go', async () => {
    const after = ['student verified', 'run unverified', 'report verified', 'policy verified'];
    expect(await states()).toEqual([...before, ...after, 'approval unverified', 'deployment unverified']);
  });

  test.each<[StepName, () => [kind: string, digest: string]]>([
    ['task', () => ['tasks', task.digest]],
    ['snapshot', () => ['snapshots', snapshot.digest]],
    ['snapshot', () => ['snapshots', snapshot.table]],
    ['student', () => ['students', student]],
    ['report', () => ['reports', reportDigest]],
    ['policy', () => ['policies', policy]],
  ])('one changed byte breaks the %s; so does its loss', async (step, blob) => {
    const [kind, digest] = blob();
    const file = join(folder, kind, digest);
    const bytes = await readFile(file);
    const at = bytes.length >> 1;
    bytes[at] = bytes[at]! ^ 1;
    await writeFile(file, bytes);
    expect(await brokenAt()).toMatchObject({ step, says: expect.stringContaining(digest) });
    await rm(file);
    // A report that is gone leaves nothing behind that names it.
    if (kind === 'reports') expect(await states()).toContain('report absent');
    else expect(await brokenAt()).toMatchObject({ step });
  });

  test('a report of another task, version, snapshot or teacher breaks the report', async () => {
    const { digest: otherSnapshot } = await keepSnapshot(rows.slice(1));
    const forgeries: Partial<Report>[] = [
      { task: 'another' },
      { taskDigest: 'a'.repeat(64) },
      { snapshot: { ...report.snapshot, digest: otherSnapshot } },
      { snapshot: { ...report.snapshot, fingerprint: 'e'.repeat(64) } },
      { snapshot: { ...report.snapshot, testPairs: 21 } },
    ];
    for (const forgery of forgeries) {
      const digest = await keepReport(forgery);
      expect(await brokenAt(), JSON.stringify(forgery)).toMatchObject({ step: 'report', digest });
      await rm(join(folder, 'reports', digest));
    }
    expect(await brokenAt()).toBeUndefined();
  });

  test('a report with the policy of another student breaks the policy', async () => {
    const digest = await keepPolicy('a'.repeat(64));
    await keepReport({ policy: { ...report.policy!, digest } });
    expect(await brokenAt()).toMatchObject({ step: 'policy', digest });
  });

  test('a forged bundle breaks where it says that it came from', async () => {
    const other = await keepSnapshot(rows, 'another');
    expect(await brokenAt(await forgeStudent({ snapshotDigest: other.digest }))).toMatchObject({ step: 'snapshot' });
    expect(await brokenAt(await forgeStudent({ fingerprint: 'e'.repeat(64) }))).toMatchObject({ step: 'snapshot' });
    expect(await brokenAt(await forgeStudent({ snapshotDigest: reportDigest }))).toMatchObject({ step: 'snapshot' });
    const renamed = await forgeStudent({ task: { name: 'another', digest: task.digest } });
    expect(await brokenAt(renamed)).toMatchObject({ step: 'task' });
    expect(await states(await forgeStudent({}))).toContain('report absent');
  });

  test.each<[StepName, string, (row: SnapshotRow, all: readonly SnapshotRow[]) => Partial<SnapshotRow>]>([
    ['prompt', 'another input', () => ({ input_json: '{"text":"something else"}' })],
    ['prompt', 'another text', () => ({ text: 'something else' })],
    ['prompt', 'an input that is not canonical', ({ input_json }) => ({ input_json: input_json.replace(':', ': ') })],
    ['pair', 'another sample', () => ({ sample_number: 1 })],
    ['pair', 'another teacher', () => ({ fingerprint: 'e'.repeat(64) })],
    ['pair', 'one pair twice', (_, [first]) => ({ ...first! })],
    [
      'split',
      'a group in two splits',
      ({ split }, all) => ({ group_id: all.find((row) => row.split !== split)!.group_id }),
    ],
    ['split', 'an unknown split', () => ({ split: 'extra' as 'train' })],
  ])('a snapshot forged with all its digests breaks the %s: %s', async (step, _what, change) => {
    const forged = rows.map((row, index) => (index === 50 ? { ...row, ...change(row, rows) } : row));
    const { digest } = await keepSnapshot(forged);
    expect(await brokenAt(await forgeStudent({ snapshotDigest: digest }))).toMatchObject({ step });
  });

  test('a table that is no Parquet breaks the snapshot, whose digest is one of rows; one of another length the pairs', async () => {
    const table = await blobs.put('snapshots', utf8('PAR1 and nothing else PAR1'));
    const manifest = JSON.parse(new TextDecoder().decode(await blobs.get('snapshots', snapshot.digest)));
    const empty = await blobs.put(
      'snapshots',
      utf8(canonicalJson({ ...manifest, pairs: { ...manifest.pairs, digest: table } })),
    );
    expect(await brokenAt(await forgeStudent({ snapshotDigest: empty }))).toMatchObject({ step: 'snapshot' });
    const more = await blobs.put(
      'snapshots',
      utf8(canonicalJson({ ...manifest, pairs: { ...manifest.pairs, rows: 101 } })),
    );
    expect(await brokenAt(await forgeStudent({ snapshotDigest: more }))).toMatchObject({ step: 'pair' });
  });
});

describe('where inputs were forgotten', () => {
  const erase = (...ids: string[]) => eraseSnapshots(blobs, task.task.name, new Set(ids));
  const stepsOf = async (digest: string) => {
    const { steps } = await walk(blobs, undefined, digest, anyone, undefined);
    return new Map(steps.map((step) => [step.step, step]));
  };

  test('what is left is verified, and what is gone is said to be erased', async () => {
    const table = snapshot.table;
    const { touched, rows: erased } = await erase(rows[7]!.prompt_id, rows[8]!.prompt_id, 'f'.repeat(64));
    expect(erased).toBe(2);
    expect(touched).toEqual([expect.objectContaining({ digest: snapshot.digest })]);
    expect(await blobs.has('snapshots', table)).toBe(false);
    const steps = await stepsOf(student);
    expect(steps.get('prompt')).toMatchObject({ state: 'erased', says: expect.stringMatching(/; 2 rows erased$/) });
    expect(steps.get('pair')).toMatchObject({ state: 'erased' });
    expect(steps.get('split')).toMatchObject({ state: 'verified' });
    expect(steps.get('snapshot')).toMatchObject({ state: 'erased', says: expect.stringMatching(/; 2 rows erased$/) });
    expect(await brokenAt(student)).toBeUndefined();
    // Once more nothing changes; and further ones add up.
    expect(await erase(rows[7]!.prompt_id)).toMatchObject({ rows: 0, strays: 0 });
    expect(await erase(rows[9]!.prompt_id)).toMatchObject({ rows: 1, strays: 0 });
    expect((await stepsOf(student)).get('snapshot')?.says).toMatch(/; 3 rows erased$/);
  });

  test('an altered row, or one more erased than the note says, breaks the snapshot all the same', async () => {
    await erase(rows[7]!.prompt_id);
    const name = `erased/${snapshot.table}.json`;
    const note = JSON.parse(new TextDecoder().decode(await blobs.getNamed(name)));
    const forged = rows.map((row, index) => (index === 50 ? { ...row, answer_json: '{"label":"forged"}' } : row));
    const { table } = await keepSnapshot(forged);
    await blobs.putNamed(name, utf8(JSON.stringify({ ...note, table })));
    expect(await brokenAt(student)).toMatchObject({ step: 'snapshot' });
  });

  test('a table of the first format is unverified once rows of it are erased, and verified before', async () => {
    const { digest } = await keepSnapshot(
      rows.map((row) => ({ ...row, weight: row.weight + 1 })),
      task.task.name,
      1,
    );
    const forged = await forgeStudent({ snapshotDigest: digest });
    expect((await stepsOf(forged)).get('snapshot')).toMatchObject({ state: 'verified' });
    await erase(rows[7]!.prompt_id);
    expect((await stepsOf(forged)).get('snapshot')).toMatchObject({ state: 'unverified' });
    expect((await stepsOf(forged)).get('prompt')).toMatchObject({ state: 'erased' });
    expect(await brokenAt(forged)).toBeUndefined();
  });
});

describe('where ids are made with a key', () => {
  const key = Buffer.alloc(32, 3);
  const promptStep = async (digest: string, held: Parameters<typeof walk>[4]) => {
    const { steps } = await walk(blobs, undefined, digest, anyone, held);
    return steps.find(({ step }) => step === 'prompt');
  };

  test('the key verifies them, another breaks them, and without it they are unverified', async () => {
    const keyed = rows
      .map((row) => {
        const prompt_id = promptIdOf(task.task.name, row.input_json, key);
        return { ...row, prompt_id, pair_id: pairId(prompt_id, fingerprint, 0) };
      })
      .sort((a, b) => (a.pair_id < b.pair_id ? -1 : 1));
    const forged = await forgeStudent({ snapshotDigest: (await keepSnapshot(keyed)).digest });
    expect(await promptStep(forged, key)).toMatchObject({ state: 'verified' });
    expect(await promptStep(forged, Buffer.alloc(32, 4))).toMatchObject({ state: 'broken' });
    expect(await promptStep(forged, undefined)).toMatchObject({ state: 'broken' });
    expect(await promptStep(forged, 'absent')).toMatchObject({ state: 'unverified', says: /ID_KEY_FILE/ });
    expect(await promptStep(student, 'absent')).toMatchObject({ state: 'verified' });
    // One input altered among ids without a key is no riddle.
    const altered = rows.map((row, index) => (index === 50 ? { ...row, input_json: '{"text":"other"}' } : row));
    const broken = await forgeStudent({ snapshotDigest: (await keepSnapshot(altered)).digest });
    expect(await promptStep(broken, 'absent')).toMatchObject({ state: 'broken' });
  });
});

describe('where signatures are asked for', () => {
  let key: Key;
  let trusted: Trusted;
  beforeAll(async () => {
    const files = await keyFiles(root, 'key');
    key = readSigningKey(files.signing, '')!;
    const keys = readTrustedKeys(files.trusted, '');
    trusted = { students: keys, reports: keys };
  });
  beforeEach(async () => {
    blobs = await FolderBlobStore.open(folder);
  });
  const about = () => ({
    ...{ studentDigest: student, task: task.task.name, taskDigest: task.digest },
    ...{ reportDigest, runId: 'run-1', policyDigest: policy },
  });
  const broken = async () => brokenStep(await walk(blobs, undefined, student, trusted, undefined));

  test('student and report are signed with what the chain says of them', async () => {
    expect(await broken()).toMatchObject({
      step: 'signature',
      digest: student,
      says: expect.stringContaining('it is unsigned'),
    });
    await keepSigned(blobs, key, studentStatement(about()));
    expect(await broken()).toMatchObject({ step: 'signature', digest: reportDigest });
    await keepSigned(blobs, key, reportStatement(about(), true));
    const { steps } = await walk(blobs, undefined, student, trusted, undefined);
    expect(steps.filter(({ step }) => step === 'signature').map(({ says }) => says)).toEqual([
      `students: signed by the trusted key ${key.id.slice(0, 12)}`,
      `reports: signed by the trusted key ${key.id.slice(0, 12)}`,
    ]);
    expect(brokenStep({ student, task: undefined, steps })).toBeUndefined();
  });

  test('a signature of another verdict, or altered, breaks the chain', async () => {
    await keepSigned(blobs, key, studentStatement(about()));
    await keepSigned(blobs, key, reportStatement(about(), false));
    expect(await broken()).toMatchObject({ step: 'signature', digest: reportDigest });
    await keepSigned(blobs, key, reportStatement(about(), true));
    const name = signatureName({ kind: 'students', digest: student }, key.id);
    await blobs.putNamed(name, (await blobs.getNamed(name))!.toReversed());
    expect(await broken()).toMatchObject({ step: 'signature', digest: student });
  });
});

describe('with the platform', () => {
  let server: RpcServer;
  let platform: Platform;
  let close: () => void;
  let run: RunState;
  let deployment: Deployment | undefined;
  let decisions: Decision[];
  let written: { report: Report; json: string; digest: string; sequence: number }[];

  beforeAll(async () => {
    const telemetry = new Telemetry({ service: 'test', logLevel: 'fatal' });
    const absent = async () => {
      throw notFound('nothing of the kind is asked for here');
    };
    async function* nothing() {}
    server = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry }, [
      rpcService(PromptService, {
        ...{ applyTask: absent, getTask: absent, listTasks: absent, startRun: absent, drawSample: absent },
        ...{ listRuns: absent, cancelRun: absent, watchRun: nothing, streamSample: nothing },
        getRun: async ({ runId }) => {
          if (runId !== run.runId) throw notFound(`no run ${runId}`);
          return { run };
        },
      }),
      rpcService(EvaluatorService, {
        getReport: async ({ reportDigest: asked }) => {
          const found = written.find(({ digest }) => digest === asked);
          if (!found) throw notFound(`wrote no report ${asked}`);
          return create(GetReportResponseSchema, responseOf(found));
        },
        listReports: async () => ({ reports: written.map((one) => create(GetReportResponseSchema, responseOf(one))) }),
      }),
      rpcService(DeployerService, {
        ...{ listDeployments: absent, rollback: absent, approve: absent, reject: absent, getWatch: absent },
        getDeployment: async () => {
          if (!deployment) throw notFound('no student was promoted yet');
          return { deployment };
        },
        listDecisions: async () => ({ decisions }),
      }),
    ]);
    await server.listen();
    server.setServing(true);
    const address = `127.0.0.1:${server.port}`;
    const clients = {
      prompt: createClient(PromptService, { address }),
      evaluator: createClient(EvaluatorService, { address }),
      deployer: createClient(DeployerService, { address }),
    };
    platform = clients;
    close = () => {
      for (const client of Object.values(clients)) client.close();
    };
  });
  afterAll(async () => {
    close();
    await server.stop(500);
  });
  beforeEach(() => {
    written = [{ report, json: canonicalJson(report), digest: reportDigest, sequence: 1 }];
    const { summary } = responseOf(written[0]!);
    const about = { runId: 'run-1', task: task.task.name, taskDigest: task.digest };
    run = create(RunStateSchema, { ...about, evaluation: summary, verdict: Verdict.PROMOTED });
    const candidate = { ...about, studentDigest: student, policyDigest: policy, reportDigest, sequence: 1n };
    const moved = promotionOf(undefined, candidate, planOf(task.task, undefined, undefined), new Date(0));
    if (moved.kind !== 'moved') throw new Error(`expected a move, came ${moved.kind}`);
    deployment = moved.deployment;
    decisions = [decisionOfMove(deployment)];
  });

  test('every step of an intact chain is verified', async () => {
    const all = await states(student, platform);
    expect(all.slice(5)).toEqual(
      ['student', 'run', 'report', 'policy', 'approval', 'deployment'].map((step) => `${step} verified`),
    );
    expect(all.filter((state) => !state.endsWith(' verified'))).toEqual([]);
    // What was only seen of it, of its teacher and its clients names no report.
    const seen = ['drift', 'shift', 'pairs'].map((action) =>
      create(DecisionSchema, {
        task: task.task.name,
        id: `${action}-1`,
        action,
        author: 'policy',
        studentDigest: student,
      }),
    );
    decisions = [...decisions, ...seen];
    expect((await states(student, platform)).filter((state) => !state.endsWith(' verified'))).toEqual([]);
  });

  test('a student that nobody judged has nothing after it', async () => {
    [written, decisions, deployment] = [[], [], undefined];
    expect((await states(student, platform)).slice(6)).toEqual([
      'report absent',
      'approval absent',
      'deployment absent',
    ]);
  });

  test.each<[StepName, string, () => unknown]>([
    [
      'run',
      'of another version of the task',
      () => {
        run.taskDigest = 'a'.repeat(64);
      },
    ],
    ['run', 'that nobody knows', () => Object.assign(run, { runId: 'run-2' })],
    [
      'run',
      'that ended with another student',
      () => {
        run.evaluation!.studentDigest = 'a'.repeat(64);
      },
    ],
    [
      'run',
      'that ended with another report',
      () => {
        run.evaluation!.reportDigest = 'a'.repeat(64);
      },
    ],
    ['run', 'whose report the evaluator did not write', () => written.splice(0)],
    [
      'approval',
      'on a report that failed',
      async () => {
        const failed = { ...report, verdict: { ...report.verdict, passed: false } };
        const digest = await keepReport(failed);
        written = [{ report: failed, json: canonicalJson(failed), digest, sequence: 1 }];
        run.evaluation!.reportDigest = digest;
        decisions = decisions.map((one) =>
          create(DecisionSchema, { ...one, reportDigest: digest, aboutReportDigest: digest }),
        );
        deployment = create(DeploymentSchema, { ...deployment!, reportDigest: digest });
      },
    ],
    [
      'approval',
      'with another policy',
      () => {
        decisions[0]!.policyDigest = 'a'.repeat(64);
      },
    ],
    ['deployment', 'that nobody decided', () => decisions.splice(0)],
    ['deployment', 'by somebody else', () => Object.assign(decisions[0]!, { author: 'Mallory' })],
    [
      'deployment',
      'with another policy',
      () => {
        deployment!.policyDigest = 'a'.repeat(64);
      },
    ],
    [
      'report',
      'that the deployment names and nobody has',
      () => {
        deployment!.reportDigest = 'a'.repeat(64);
      },
    ],
  ])('a broken %s: %s', async (step, _what, change) => {
    await change();
    expect(await brokenAt(student, platform)).toMatchObject({ step });
  });

  test('a claim that was refused breaks nothing', async () => {
    const claim = { task: task.task.name, id: 'refused-1', action: 'refused', studentDigest: student };
    decisions.push(create(DecisionSchema, { ...claim, reportDigest: 'a'.repeat(64) }));
    expect(await brokenAt(student, platform)).toBeUndefined();
  });
});
