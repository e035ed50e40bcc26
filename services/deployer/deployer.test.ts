/** Promotion, refusal, quarantine and rollback; longer than other files, because all of them need the same evaluator, keys and reports. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { EvalSummarySchema, type EventType, type PayloadInit } from '@understudy/contract';
import { DeployerService, type Deployment, QuarantineService } from '@understudy/contract/deployer';
import { EvaluatorService, type GetReportResponse, GetReportResponseSchema } from '@understudy/contract/evaluator';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import type { OutgoingEvent } from '@understudy/service/bus/event';
import { Publisher } from '@understudy/service/bus/publish';
import { RetryableError } from '@understudy/service/errors';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import { type Key, readSigningKey } from '@understudy/service/signatures/keys';
import { keepSigned, signatureName } from '@understudy/service/signatures/statements';
import { keyFiles } from '@understudy/service/signatures/testing';
import { allHandled, type TestBus, testBus } from '@understudy/service/testing';
import { type Policy, policyJson, reportStatement, studentStatement } from '@understudy/student';
import { LABELS, smallStudent } from '@understudy/student/testing';
import { parseTask, sha256Hex, taskJson } from '@understudy/task';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { definition } from './service.ts';

/** Dies once, when told to, just before it would tell of a promotion. */
class MortalPublisher extends Publisher {
  dies = false;
  deaths = 0;
  override publish<T extends EventType>(event: OutgoingEvent<T>): Promise<void> {
    if (this.dies && event.type === 'student.promoted') {
      this.dies = false;
      this.deaths += 1;
      return Promise.reject(new RetryableError('the process dies here', { afterMs: 10 }));
    }
    return super.publish(event);
  }
}

let server: TestBus;
let publisher: MortalPublisher;
let folder: string;
let blobs: FolderBlobStore;
let evaluator: RpcServer;
let deployer: RunningService;
let client: RpcClient<typeof DeployerService>;
/** The trainer's and the evaluator's, which the deployer trusts for what they sign. */
let keys: { student: Key; report: Key };
/** What the evaluator has written, by digest. */
const reports = new Map<string, GetReportResponse>();
const snapshotDigest = 'b'.repeat(64);

beforeAll(async () => {
  server = await testBus();
  folder = await mkdtemp(join(tmpdir(), 'understudy-deployer-'));
  blobs = await FolderBlobStore.open(folder);
  const options = { host: '127.0.0.1', port: 0, reflection: false, telemetry: server.telemetry };
  evaluator = new RpcServer(options, [
    rpcService(EvaluatorService, {
      getReport: async ({ reportDigest }) => {
        const report = reports.get(reportDigest);
        if (!report) throw notFound(`wrote no report ${reportDigest}`);
        return report;
      },
      listReports: async () => ({ reports: [...reports.values()] }),
    }),
  ]);
  await evaluator.listen();
  const [trainers, evaluators] = [await keyFiles(folder, 'trainer'), await keyFiles(folder, 'evaluator')];
  keys = { student: readSigningKey(trainers.signing, '')!, report: readSigningKey(evaluators.signing, '')! };
  const environment = {
    TRUSTED_STUDENT_KEYS_FILE: trainers.trusted,
    TRUSTED_REPORT_KEYS_FILE: evaluators.trusted,
    NATS_URL: server.server.url,
    EVALUATOR_ADDRESS: `127.0.0.1:${evaluator.port}`,
    PAIR_STORE_ADDRESS: '127.0.0.1:1',
    TEACHER_GATEWAY_ADDRESS: '127.0.0.1:1',
    DATA_DIR: folder,
    LOG_LEVEL: 'fatal',
  };
  publisher = new MortalPublisher(server.bus, 'deployer');
  deployer = await startService(definition, environment, { blobs, publisher });
  client = createClient(DeployerService, { address: `127.0.0.1:${deployer.grpcPort}` });
});
afterAll(async () => {
  client.close();
  await deployer.stop();
  await evaluator.stop(1_000);
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A version of a task; what is proven for it is live at once. */
const taskBody = (name: string, version: number) => ({
  name,
  description: `version ${version}`,
  input: { fields: ['text'] },
  prompt: { instructions: 'What is this about?', template: '{{text}}', maxCharacters: 200 },
  output: {
    schema: {
      type: 'object',
      properties: { topic: { enum: LABELS } },
      required: ['topic'],
      additionalProperties: false,
    },
  },
  teacher: { kind: 'nats', subject: 'models.help-desk', model: 'fake' },
  budget: { calls: 10, usd: 0 },
  goal: { agreement: 0.9 },
  deployment: { stages: [] },
});

type Passed = Awaited<ReturnType<typeof judged>>;

/** A student, its policy and a report of it, all in place; the event that an evaluator would publish. */
async function judged(task: string, sequence: number, changes: Partial<GetReportResponse> = {}) {
  const body = parseTask(JSON.stringify(taskBody(task, sequence)));
  const taskDigest = await blobs.put('tasks', new TextEncoder().encode(taskJson(body)));
  const lineage = { task: { name: task, digest: taskDigest }, snapshotDigest, fingerprint: 'f' };
  const { digest: studentDigest, archive } = await smallStudent({ lineage });
  await blobs.put('students', archive);
  const policy: Policy = {
    version: 2,
    studentDigest,
    heads: [{ name: 'topic', temperature: 1 }],
    threshold: 0.5,
  };
  const policyDigest = await blobs.put('policies', new TextEncoder().encode(policyJson(policy)));
  const reportJson = JSON.stringify({ task, sequence, ...changes }, (_, value) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  const reportDigest = sha256Hex(reportJson);
  const summary = { reportDigest, studentDigest, policyDigest, snapshotDigest, testPairs: 1_000, look: sequence };
  const runId = `${task}-${sequence}`;
  const about = { studentDigest, task, taskDigest, policyDigest, reportDigest, runId };
  await keepSigned(blobs, keys.student, studentStatement(about));
  await keepSigned(blobs, keys.report, reportStatement(about, changes.passed ?? true));
  const written = { reportJson, passed: true, task, taskDigest, runId, sequence: BigInt(sequence) };
  reports.set(
    reportDigest,
    create(GetReportResponseSchema, { ...written, summary: create(EvalSummarySchema, summary), ...changes }),
  );
  return { runId, task, taskDigest, seal: 1, summary };
}

let published = 0;
const publish = (payload: PayloadInit<'eval.passed'>) =>
  server.publisher.publish({ type: 'eval.passed', entity: `message-${++published}`, payload });

/** Resolves when the deployer has nothing left to do. */
const settled = (): Promise<void> => allHandled(server.bus, 'deployer-verdicts');

const deploymentOf = async (task: string): Promise<Deployment> => (await client.getDeployment({ task })).deployment!;
const factsOf = async (type: string, task: string): Promise<number> => {
  const { state } = await server.bus.jsm.streams.info('FACTS', { subjects_filter: `${type}.${task}` });
  return state.subjects?.[`${type}.${task}`] ?? 0;
};

describe('a proven student', () => {
  test('is promoted, and the deployment can be read as JSON in the bucket', async () => {
    const event = await judged('plain', 1);
    await publish(event);
    await settled();
    const deployment = await deploymentOf('plain');
    expect(deployment).toMatchObject({
      task: 'plain',
      taskDigest: event.taskDigest,
      runId: 'plain-1',
      studentDigest: event.summary.studentDigest,
      policyDigest: event.summary.policyDigest,
      reportDigest: event.summary.reportDigest,
      generation: 1n,
      reportSequence: 1n,
    });
    const entry = await (await server.bus.bucket('deployments')).get('plain');
    expect(entry!.json()).toMatchObject({ studentDigest: event.summary.studentDigest, generation: '1' });
    expect(await factsOf('student.promoted', 'plain')).toBe(1);
    expect((await client.listDeployments({})).deployments.map(({ task }) => task)).toContain('plain');
  });

  test('moves nothing when its event is replayed, and a late older one moves nothing either', async () => {
    const [older, newer] = [await judged('replayed', 1), await judged('replayed', 2)];
    await publish(newer);
    await settled();
    const before = await deploymentOf('replayed');
    expect(before).toMatchObject({ generation: 1n, reportSequence: 2n });
    for (const event of [newer, older, newer, older]) await publish(event);
    await settled();
    expect(await deploymentOf('replayed')).toEqual(before);
    expect(await factsOf('student.promoted', 'replayed')).toBe(1);
  });

  test('is told of when the process died between the move and the telling', async () => {
    const event = await judged('died', 1);
    publisher.dies = true;
    await publish(event);
    await settled();
    expect(publisher.deaths).toBe(1);
    expect(await factsOf('student.promoted', 'died')).toBe(1);
    expect(await deploymentOf('died')).toMatchObject({ generation: 1n });
  });

  test('of many at once, the newest stands in the end', async () => {
    const events = await Promise.all(Array.from({ length: 8 }, (_, index) => judged('raced', index + 1)));
    await Promise.all(events.toReversed().map((event) => publish(event)));
    await settled();
    expect(await deploymentOf('raced')).toMatchObject({
      reportSequence: 8n,
      studentDigest: events[7]!.summary.studentDigest,
    });
  });
});

describe('an eval.passed that the evaluator does not stand behind', () => {
  let before: Deployment;
  let event: Passed;
  let letters = 0;
  beforeAll(async () => {
    await publish(await judged('forged', 1));
    await settled();
    before = await deploymentOf('forged');
  });
  beforeEach(async () => {
    event = await judged('forged', 2);
    letters += 1;
  });

  const forgeries: [
    string,
    (event: Passed) => PayloadInit<'eval.passed'> | Promise<PayloadInit<'eval.passed'>>,
    RegExp,
  ][] = [
    [
      'a report that nobody wrote',
      (given) => ({ ...given, summary: { ...given.summary, reportDigest: 'a'.repeat(64) } }),
      /knows nothing of the report "aaaa/,
    ],
    ['no summary', (given) => ({ ...given, summary: undefined }), /expected the summary/],
    [
      'another student',
      (given) => ({ ...given, summary: { ...given.summary, studentDigest: 'a'.repeat(64) } }),
      /differ in studentDigest/,
    ],
    [
      'another policy',
      (given) => ({ ...given, summary: { ...given.summary, policyDigest: 'a'.repeat(64) } }),
      /differ in policyDigest/,
    ],
    [
      'another snapshot',
      (given) => ({ ...given, summary: { ...given.summary, snapshotDigest: 'a'.repeat(64) } }),
      /differ in snapshotDigest/,
    ],
    [
      'better figures',
      (given) => ({ ...given, summary: { ...given.summary, selectiveAgreement: 1 } }),
      /differ in selectiveAgreement/,
    ],
    ['another run', (given) => ({ ...given, runId: 'other' }), /is of runId forged-2, but eval.passed says other/],
    ['another version of the task', (given) => ({ ...given, taskDigest: 'a'.repeat(64) }), /is of taskDigest/],
    [
      'a report of another task',
      async (given) => ({ ...given, summary: (await judged('unrelated', 1)).summary }),
      /is of task unrelated/,
    ],
    ['a failed report', () => judged('forged', 3, { passed: false }), /says that the student failed/],
    ['a report with another digest', () => judged('forged', 3, { reportJson: '{}' }), /has another digest/],
  ];
  test.each(forgeries)('moves nothing and becomes a dead letter: %s', async (_, forge, reason) => {
    await publish(await forge(event));
    const letter = (await server.deadLetters(letters)).at(-1)!;
    expect(letter).toMatchObject({ consumer: 'deployer-verdicts', reason: expect.stringMatching(reason) });
    expect(await deploymentOf('forged')).toEqual(before);
    expect(await factsOf('student.promoted', 'forged')).toBe(1);
  });

  test('nor does one whose bundle or policy could not be served', async () => {
    await writeFile(join(folder, 'students', event.summary.studentDigest!), 'damaged');
    await publish(event);
    expect((await server.deadLetters(letters)).at(-1)!.reason).toMatch(/students\/.* cannot be served: .*is damaged/);
    const other = await judged('forged', 4);
    await rm(join(folder, 'policies', other.summary.policyDigest!));
    await publish(other);
    expect((await server.deadLetters(letters + 1)).at(-1)!.reason).toMatch(/policies\/.* cannot be served/);
    const foreign = await judged('forged', 5);
    const another = await judged('another-task', 1);
    const { studentDigest, policyDigest } = another.summary;
    const report = reports.get(foreign.summary.reportDigest!)!;
    report.summary = create(EvalSummarySchema, { ...foreign.summary, studentDigest, policyDigest });
    const { task: name, taskDigest, runId } = foreign;
    const about = { task: name, taskDigest, runId, ...foreign.summary, studentDigest, policyDigest };
    await keepSigned(blobs, keys.student, studentStatement(about));
    await keepSigned(blobs, keys.report, reportStatement(about, true));
    await publish({ ...foreign, summary: report.summary });
    expect((await server.deadLetters(letters + 2)).at(-1)!.reason).toMatch(/do not belong together/);
    expect(await deploymentOf('forged')).toEqual(before);
  });
});

describe('a student or report that nobody who is trusted has signed', () => {
  let event: Passed;
  let count = 1;
  beforeEach(async () => {
    event = await judged('signed', ++count);
  });
  const students = (given: Passed) => ({ kind: 'students', digest: given.summary.studentDigest });
  const reportsOf = (given: Passed) => ({ kind: 'reports', digest: given.summary.reportDigest });
  const signature = (given: Passed, of: typeof students | typeof reportsOf) =>
    signatureName(of(given), of === students ? keys.student.id : keys.report.id);
  const copied = async (from: string, to: string) => blobs.putNamed(to, (await blobs.getNamed(from))!);
  const aboutOf = ({ task, taskDigest, runId, summary }: Passed) => ({ task, taskDigest, runId, ...summary });

  const faults: [string, (given: Passed) => Promise<unknown>, RegExp][] = [
    ['an unsigned student', (given) => blobs.removeNamed(signature(given, students)), /students\/.* it is unsigned/],
    ['an unsigned report', (given) => blobs.removeNamed(signature(given, reportsOf)), /reports\/.* it is unsigned/],
    [
      "a report under another report's signature",
      async (given) => copied(signature(await judged('unrelated', 2), reportsOf), signature(given, reportsOf)),
      /it is of subject.0.name "reports\/.*, expected "reports\//,
    ],
    [
      'a student signed for another version of its task',
      (given) => keepSigned(blobs, keys.student, studentStatement({ ...aboutOf(given), taskDigest: 'a'.repeat(64) })),
      /it is of predicate.taskDigest "aaaa/,
    ],
    [
      'a report signed as failed',
      (given) => keepSigned(blobs, keys.report, reportStatement(aboutOf(given), false)),
      /it is of predicate.passed false, expected true/,
    ],
    [
      "a report signed with the trainer's key",
      async (given) => {
        await blobs.removeNamed(signature(given, reportsOf));
        await keepSigned(blobs, keys.student, reportStatement(aboutOf(given), true));
      },
      /signed by another key/,
    ],
    [
      'a signature cut short',
      async (given) => {
        const name = signature(given, reportsOf);
        await blobs.putNamed(name, (await blobs.getNamed(name))!.subarray(0, 200));
      },
      /expected a DSSE envelope/,
    ],
  ];
  test.each(faults)('is not promoted, and the audit log says why: %s', async (_, spoil, reason) => {
    await spoil(event);
    await publish(event);
    await settled();
    await expect(client.getDeployment({ task: 'signed' })).rejects.toThrow(/no student of signed/);
    const { decisions } = await client.listDecisions({ task: 'signed' });
    expect(decisions.at(-1)).toMatchObject({
      action: 'refused',
      runId: event.runId,
      reason: expect.stringMatching(reason),
    });
  });
});

describe('a student that learnt from what was forgotten', () => {
  let quarantine: RpcClient<typeof QuarantineService>;
  beforeAll(() => {
    quarantine = createClient(QuarantineService, { address: `127.0.0.1:${deployer.grpcPort}` });
  });
  afterAll(() => quarantine.close());
  const erasure = { erasureId: 'e'.repeat(16), author: 'Ada', reason: 'asked by mail', inputs: 1, quarantined: true };
  const actionsOf = async (task: string) =>
    (await client.listDecisions({ task })).decisions.map(({ action }) => action).toSorted();

  test('serves no more, and comes back neither by its report nor by a rollback', async () => {
    const [first, second] = [await judged('forgot', 1), await judged('forgot', 2)];
    for (const event of [first, second]) {
      await publish(event);
      await settled();
    }
    const studentDigests = [second.summary.studentDigest];
    const { deployment } = await quarantine.quarantine({ ...erasure, task: 'forgot', studentDigests });
    expect(deployment).toMatchObject({ studentDigest: '', generation: 3n, move: { action: 'demoted', author: 'Ada' } });
    await quarantine.quarantine({ ...erasure, task: 'forgot', studentDigests });
    await publish(second);
    await settled();
    await expect(client.rollback({ task: 'forgot' })).rejects.toThrow(/has no student/);
    expect(await deploymentOf('forgot')).toEqual(deployment);
    expect(await factsOf('student.demoted', 'forgot')).toBe(1);
    expect(await actionsOf('forgot')).toEqual(expect.arrayContaining(['forgot', 'quarantined', 'refused']));
  });

  test('stays where the policy keeps it; the audit log says that it learnt from it', async () => {
    const event = await judged('kept', 1);
    await publish(event);
    await settled();
    const about = { ...erasure, task: 'kept', studentDigests: [event.summary.studentDigest] };
    await quarantine.quarantine({ ...about, quarantined: false });
    expect(await deploymentOf('kept')).toMatchObject({ studentDigest: event.summary.studentDigest, generation: 1n });
    expect(await actionsOf('kept')).toContain('forgot');
    expect(await actionsOf('kept')).not.toContain('quarantined');
  });

  test.each([false, true])(
    'does not serve where it was quarantined in the middle of its promotion; died after it: %s',
    async (dies) => {
      const task = `midway-${dies}`;
      const { taskDigest, ...event } = await judged(task, 1);
      const studentDigests = [event.summary.studentDigest];
      const read = blobs.get.bind(blobs);
      let asked = 0;
      // The stages of its plan are read after it was seen that it is not quarantined, and before it moves.
      const spy = vi.spyOn(blobs, 'get').mockImplementation(async (kind, digest) => {
        if (kind === 'tasks' && digest === taskDigest) {
          asked += 1;
          await quarantine.quarantine({ ...erasure, task, studentDigests });
        }
        return read(kind, digest);
      });
      onTestFinished(() => void spy.mockRestore());
      const deaths = publisher.deaths + Number(dies);
      publisher.dies = dies;
      await publish({ ...event, taskDigest });
      await settled();
      expect({ asked, deaths: publisher.deaths }).toEqual({ asked: 1, deaths });
      // It was promoted, and is out again.
      expect(await deploymentOf(task)).toMatchObject({
        studentDigest: '',
        generation: 2n,
        move: { action: 'demoted' },
      });
    },
  );

  test.each([
    [{ erasureId: 'e' }, /erasure_id/],
    [{ author: ' ' }, /author/],
    [{ reason: '' }, /reason/],
    [{ studentDigests: ['../x'] }, /student_digests/],
    [{ task: '../x' }, /task/],
  ])('refuses %j', async (change, message) => {
    const request = { ...erasure, task: 'forgot', studentDigests: [], ...change };
    await expect(quarantine.quarantine(request)).rejects.toThrow(message);
  });
});

describe('a rollback', () => {
  test('goes back, is told of, and outlives a replay of what it rolled back', async () => {
    const [first, second] = [await judged('rolled', 1), await judged('rolled', 2)];
    await publish(first);
    await settled();
    await publish(second);
    await settled();
    const { deployment } = await client.rollback({ task: 'rolled', reason: 'worse', expectedGeneration: 2n });
    expect(deployment).toMatchObject({
      generation: 3n,
      studentDigest: first.summary.studentDigest,
      reportSequence: 2n,
    });
    expect(await factsOf('student.demoted', 'rolled')).toBe(1);
    for (const event of [second, first]) await publish(event);
    await settled();
    expect(await deploymentOf('rolled')).toEqual(deployment);
    expect((await client.rollback({ task: 'rolled', expectedGeneration: 2n })).deployment).toEqual(deployment);
    await expect(client.rollback({ task: 'rolled', expectedGeneration: 1n })).rejects.toThrow(/it is at 3/);
    const { deployment: none } = await client.rollback({ task: 'rolled' });
    expect(none).toMatchObject({ generation: 4n, studentDigest: '' });
    await expect(client.rollback({ task: 'rolled' })).rejects.toThrow(/has no student/);
    await publish(await judged('rolled', 3));
    await expect.poll(() => deploymentOf('rolled')).toMatchObject({ generation: 5n, previous: { studentDigest: '' } });
  });

  test('of what was never promoted is refused', async () => {
    await expect(client.rollback({ task: 'unheard-of' })).rejects.toThrow(/no student of unheard-of was promoted/);
    await expect(client.getDeployment({ task: 'unheard-of' })).rejects.toThrow(/no student of unheard-of was promoted/);
    await expect(client.getDeployment({ task: 'not a task' })).rejects.toThrow(/expected 1 to 48/);
  });
});
