import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { AuditOutcome, EvalSummarySchema } from '@understudy/contract';
import { DeployerService, type Deployment, Stage } from '@understudy/contract/deployer';
import { EvaluatorService, type GetReportResponse, GetReportResponseSchema } from '@understudy/contract/evaluator';
import { PairStoreService } from '@understudy/contract/pair-store';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import { allHandled, type TestBus, testBus } from '@understudy/service/testing';
import { type Policy, policyJson } from '@understudy/student';
import { LABELS, smallStudent } from '@understudy/student/testing';
import { parseTask, sha256Hex, taskJson } from '@understudy/task';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { timesReached } from './new-pairs.ts';
import { definition } from './service.ts';

let server: TestBus;
let folder: string;
let blobs: FolderBlobStore;
let evaluator: RpcServer;
let pairStore: RpcServer;
/** What the pair store counts beyond any snapshot. */
let newPairs = 0;
/** Two of them all the time: every fact may be handled by either, and every decision raced for. */
const deployers: RunningService[] = [];
let client: RpcClient<typeof DeployerService>;
const reports = new Map<string, GetReportResponse>();
const snapshotDigest = 'b'.repeat(64);
const fingerprint = 'c'.repeat(64);

beforeAll(async () => {
  server = await testBus();
  folder = await mkdtemp(join(tmpdir(), 'understudy-stages-'));
  blobs = await FolderBlobStore.open(folder);
  evaluator = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry: server.telemetry }, [
    rpcService(EvaluatorService, {
      getReport: async ({ reportDigest }) => {
        const report = reports.get(reportDigest);
        if (!report) throw notFound(`wrote no report ${reportDigest}`);
        return report;
      },
      listReports: async () => ({ reports: [] }),
    }),
  ]);
  const absent = async () => {
    throw notFound('nothing of the kind is kept here');
  };
  pairStore = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry: server.telemetry }, [
    rpcService(PairStoreService, {
      ...{ streamPairs: async function* () {}, getSnapshot: absent, findPairs: absent, importPairs: absent },
      stats: async () => ({ trainPairs: newPairs }),
    }),
  ]);
  await Promise.all([evaluator.listen(), pairStore.listen()]);
  deployers.push(await startDeployer(), await startDeployer());
  client = createClient(DeployerService, { address: `127.0.0.1:${deployers[0]!.grpcPort}` });
});
afterAll(async () => {
  client.close();
  for (const deployer of deployers) await deployer.stop();
  await Promise.all([evaluator.stop(1_000), pairStore.stop(1_000)]);
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const startDeployer = (): Promise<RunningService> =>
  startService(
    definition,
    {
      NATS_URL: server.server.url,
      EVALUATOR_ADDRESS: `127.0.0.1:${evaluator.port}`,
      PAIR_STORE_ADDRESS: `127.0.0.1:${pairStore.port}`,
      // Nobody is there: the teacher cannot be asked again.
      TEACHER_GATEWAY_ADDRESS: '127.0.0.1:1',
      DATA_DIR: folder,
      LOG_LEVEL: 'fatal',
    },
    { blobs },
  );

/** Publishes the verdict about a student of a task's version, all that it names in place. */
async function prove(name: string, sequence: number, deployment: object = {}): Promise<void> {
  const output = {
    type: 'object',
    properties: { topic: { enum: LABELS } },
    required: ['topic'],
    additionalProperties: false,
  };
  const task = parseTask(
    JSON.stringify({
      name,
      description: `version ${sequence}`,
      input: { fields: ['text'] },
      prompt: { instructions: 'What is this about?', template: '{{text}}', maxCharacters: 200 },
      output: { schema: output },
      teacher: { kind: 'nats', subject: 'models.help-desk', model: 'fake' },
      budget: { calls: 10, usd: 0 },
      goal: { agreement: 0.9 },
      deployment,
    }),
  );
  const taskDigest = await blobs.put('tasks', new TextEncoder().encode(taskJson(task)));
  const lineage = { task: { name, digest: taskDigest }, snapshotDigest, fingerprint };
  const { digest: studentDigest, archive } = await smallStudent({ lineage });
  await blobs.put('students', archive);
  const heads = [{ name: 'topic', temperature: 1 }];
  const policy: Policy = { version: 2, studentDigest, heads, threshold: 0.5 };
  const policyDigest = await blobs.put('policies', new TextEncoder().encode(policyJson(policy)));
  const snapshot = { digest: snapshotDigest, fingerprint, trainPairs: 200 };
  const reportJson = JSON.stringify({ name, sequence, snapshot, test: null });
  const reportDigest = sha256Hex(reportJson);
  const summary = create(EvalSummarySchema, { reportDigest, studentDigest, policyDigest, snapshotDigest });
  const about = { runId: `${name}-${sequence}`, task: name, taskDigest };
  const report = { ...about, reportJson, passed: true, sequence: BigInt(sequence), summary };
  reports.set(reportDigest, create(GetReportResponseSchema, report));
  await server.publisher.publish({
    type: 'eval.passed',
    entity: reportDigest,
    payload: { ...about, seal: 1, summary },
  });
}

let requests = 0;
/** Publishes what gateways would tell of so many checks, each fact twice. */
async function audits(about: Audited, agreed: number, disagreed: number): Promise<void> {
  const outcomes = [...Array(disagreed).fill(AuditOutcome.DISAGREED), ...Array(agreed).fill(AuditOutcome.AGREED)];
  await Promise.all(outcomes.map((outcome) => tellAudit(about, outcome)));
}

interface Audited {
  task: string;
  taskDigest: string;
  studentDigest: string;
  servingGeneration: bigint;
}

async function tellAudit(about: Audited, outcome: AuditOutcome): Promise<void> {
  const requestId = `request-${++requests}`;
  const payload = { ...about, requestId, propensity: 0.2, outcome, confidence: 0.9, fingerprint };
  for (const entity of [requestId, `${requestId} again`]) {
    await server.publisher.publish({ type: 'answer.audited', entity, payload });
  }
}

const deploymentOf = async (task: string): Promise<Deployment> => (await client.getDeployment({ task })).deployment!;
const when = async (task: string, holds: (deployment: Deployment) => boolean): Promise<Deployment> => {
  for (;;) {
    const found = await client.getDeployment({ task }).catch(() => undefined);
    if (found?.deployment && holds(found.deployment)) return found.deployment;
    await new Promise((wake) => setTimeout(wake, 20));
  }
};
/** Once there are so many: a move is made before it is kept among them. */
const decisionsOf = async (task: string, atLeast: number) => {
  for (;;) {
    const { decisions } = await client.listDecisions({ task });
    if (decisions.length >= atLeast) return decisions;
    await new Promise((wake) => setTimeout(wake, 20));
  }
};
const servingOf = ({ task, taskDigest, studentDigest, servingGeneration }: Deployment): Audited => ({
  task,
  taskDigest,
  studentDigest,
  servingGeneration,
});
const challengerOf = ({ task, challenger }: Deployment): Audited => ({
  task,
  taskDigest: challenger!.taskDigest,
  studentDigest: challenger!.studentDigest,
  servingGeneration: challenger!.generation,
});
const quiet = () => allHandled(server.bus, 'deployer-audits');

describe('beside a student that serves', () => {
  test('another one goes through shadow and canary to live, each step on evidence of its own, told once', async () => {
    await prove('stepping', 1);
    const first = await when('stepping', ({ generation }) => generation === 1n);
    expect(first).toMatchObject({ auditShare: 0.01, servingGeneration: 1n });
    await prove('stepping', 2);
    const shadow = await when('stepping', ({ challenger }) => challenger !== undefined);
    expect(shadow).toMatchObject({ studentDigest: first.studentDigest, servingGeneration: 1n, generation: 2n });
    expect(shadow.challenger).toMatchObject({ stage: Stage.SHADOW, share: 0, auditShare: 0.2, generation: 2n });
    await audits(challengerOf(shadow), 60, 1);
    const canary = await when('stepping', ({ challenger }) => challenger?.stage === Stage.CANARY);
    expect(canary).toMatchObject({ studentDigest: first.studentDigest, challenger: { share: 0.1, generation: 3n } });
    // What was said of the shadow says nothing of the canary.
    await audits(challengerOf(shadow), 300, 0);
    await quiet();
    expect(await deploymentOf('stepping')).toEqual(canary);
    await audits(challengerOf(canary), 120, 1);
    const live = await when('stepping', ({ challenger }) => challenger === undefined);
    expect(live).toMatchObject({
      generation: 4n,
      servingGeneration: 4n,
      studentDigest: shadow.challenger!.studentDigest,
      previous: { studentDigest: first.studentDigest },
      runId: 'stepping-2',
    });
    await quiet();
    const decisions = await decisionsOf('stepping', 4);
    expect(decisions.map(({ action, generation }) => `${action} ${generation}`)).toEqual([
      'promoted 1',
      'staged 2',
      'stepped 3',
      'live 4',
    ]);
    expect(decisions[3]!.evidence!.lowerBound).toBeGreaterThanOrEqual(0.88);
    const { evidence } = await client.getWatch({ task: 'stepping' });
    expect(evidence).toMatchObject([{ studentDigest: live.studentDigest, checks: 0, goal: 0.9 }]);
  });

  test('one that surely disagrees is sent away, and what serves goes on', async () => {
    await prove('failing', 1);
    const first = await when('failing', ({ generation }) => generation === 1n);
    await prove('failing', 2);
    await audits(challengerOf(await when('failing', ({ challenger }) => challenger !== undefined)), 30, 30);
    const after = await when('failing', ({ generation }) => generation === 3n);
    expect(after).toMatchObject({ studentDigest: first.studentDigest, servingGeneration: 1n });
    expect(after.challenger).toBeUndefined();
    expect((await decisionsOf('failing', 3)).at(-1)).toMatchObject({
      action: 'dropped',
      author: 'policy',
      studentDigest: first.studentDigest,
      aboutStudentDigest: expect.not.stringMatching(first.studentDigest),
    });
  });
});

test('a student that falls is demoted once, although two deployers watch; the teacher answers, and old facts change nothing', async () => {
  await prove('falling', 1);
  const first = await when('falling', ({ generation }) => generation === 1n);
  await audits(servingOf(first), 0, 60);
  const none = await when('falling', ({ generation }) => generation > 1n);
  expect(none).toMatchObject({ generation: 2n, studentDigest: '', auditShare: 0, taskDigest: first.taskDigest });
  await audits(servingOf(first), 0, 60);
  await quiet();
  expect(await deploymentOf('falling')).toEqual(none);
  const decisions = await decisionsOf('falling', 2);
  expect(decisions.map(({ action }) => action)).toEqual(['promoted', 'demoted']);
  expect(decisions[1]!.reason).toMatch(/agreement fell: .* cannot be said whether it changed/);
  expect(decisions[1]!.evidence!.disagreements).toBeGreaterThan(0);
  expect(decisions[1]!.aboutStudentDigest).toBe(first.studentDigest);
});

test('without a budget for audits a student goes back to a canary, once', async () => {
  await prove('spent', 1);
  const first = await when('spent', ({ generation }) => generation === 1n);
  await tellAudit(servingOf(first), AuditOutcome.BUDGET_SPENT);
  await tellAudit(servingOf(first), AuditOutcome.BUDGET_SPENT);
  const canary = await when('spent', ({ generation }) => generation > 1n);
  await quiet();
  expect(await deploymentOf('spent')).toEqual(canary);
  expect(canary).toMatchObject({
    generation: 2n,
    studentDigest: '',
    challenger: { studentDigest: first.studentDigest, stage: Stage.CANARY, share: 0.1 },
  });
});

describe('where a person must approve', () => {
  const required = { approval: 'required', stages: [] };
  const word = { author: 'Ada', reason: 'looked at the report' };

  test('nothing serves before, and the approval is kept with its author and reason', async () => {
    await prove('approved', 1, required);
    const waiting = await when('approved', ({ challenger }) => challenger !== undefined);
    expect(waiting).toMatchObject({ studentDigest: '', challenger: { stage: Stage.WAITING, auditShare: 0 } });
    await expect(client.approve({ task: 'approved', author: ' ', reason: 'x' })).rejects.toThrow(/author: expected/);
    await expect(client.approve({ task: 'approved', ...word, studentDigest: 'f00' })).rejects.toThrow(/not f00/);
    await expect(client.approve({ task: 'approved', ...word, expectedGeneration: 9n })).rejects.toThrow(/it is at 1/);
    await client.approve({ task: 'approved', ...word, expectedGeneration: waiting.generation });
    const serving = await deploymentOf('approved');
    expect(serving).toMatchObject({ generation: 2n, studentDigest: waiting.challenger!.studentDigest });
    expect(serving.challenger).toBeUndefined();
    await expect(client.approve({ task: 'approved', ...word })).rejects.toThrow(/nothing to decide/);
    expect((await decisionsOf('approved', 2)).at(-1)).toMatchObject({ action: 'live', ...word });
  });

  test('a rejection is kept too, and of an approval and a rejection at once one wins', async () => {
    await prove('rejected', 1, required);
    await when('rejected', ({ challenger }) => challenger !== undefined);
    await decisionsOf('rejected', 1);
    const both = [client.approve({ task: 'rejected', ...word }), client.reject({ task: 'rejected', ...word })];
    const outcomes = await Promise.allSettled(both);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const decisions = await decisionsOf('rejected', 2);
    expect(decisions).toHaveLength(2);
    expect(['live', 'rejected']).toContain(decisions[1]!.action);
    expect(decisions[1]!.aboutStudentDigest).toBe(decisions[0]!.aboutStudentDigest);
  });
});

test('what was refused is kept with the reason, once however often it is delivered', async () => {
  await prove('refused', 1);
  await decisionsOf('refused', 1);
  const summary = { reportDigest: 'a'.repeat(64), studentDigest: 'a'.repeat(64), policyDigest: 'a'.repeat(64) };
  const payload = { runId: 'forged', task: 'refused', taskDigest: 'a'.repeat(64), seal: 1, summary };
  await server.publisher.publish({ type: 'eval.passed', entity: 'forged', payload });
  await server.deadLetters(1);
  const decisions = await decisionsOf('refused', 2);
  expect(decisions.map(({ action }) => action)).toEqual(['promoted', 'refused']);
  expect(decisions[1]!.reason).toMatch(/knows nothing of the report/);
});

test('a move that nobody was told of is told when a deployer starts', async () => {
  await prove('untold', 1);
  await decisionsOf('untold', 1);
  const decisions = await server.bus.bucket('decisions');
  await decisions.purge('untold.move-1');
  expect(await decisionsOf('untold', 0)).toEqual([]);
  const third = await startDeployer();
  expect((await decisionsOf('untold', 1)).map(({ action }) => action)).toEqual(['promoted']);
  await third.stop();
});

describe('enough new pairs', () => {
  const told = async (task: string): Promise<number> => {
    const subject = `pairs.gathered.${task}`;
    const { state } = await server.bus.jsm.streams.info('FACTS', { subjects_filter: subject });
    return state.subjects?.[subject] ?? 0;
  };
  /** Deployers look when they start. */
  const lookTwice = async () => {
    const more = await Promise.all([startDeployer(), startDeployer()]);
    return async () => {
      for (const one of more) await one.stop();
    };
  };
  const gathered = async (task: string) => (await decisionsOf(task, 0)).filter(({ action }) => action === 'pairs');

  test('are told once each time that the share is reached, although deployers race, and are in the audit log', async () => {
    await prove('gathering', 1);
    await prove('likewise', 1);
    await prove('content', 1, { retrain: { newPairsShare: 0 } });
    for (const task of ['gathering', 'likewise', 'content'])
      await when(task, ({ studentDigest }) => studentDigest !== '');
    for (const [pairs, times] of [
      [399, 1],
      [400, 2],
    ] as const) {
      newPairs = pairs;
      const stop = await lookTwice();
      for (const task of ['gathering', 'likewise']) {
        while ((await gathered(task)).length < times) await new Promise((wake) => setTimeout(wake, 20));
      }
      await stop();
      for (const task of ['gathering', 'likewise']) {
        expect([await told(task), (await gathered(task)).length], `${task}: ${pairs} pairs`).toEqual([times, times]);
      }
    }
    expect((await gathered('gathering')).at(-1)).toMatchObject({
      id: 'pairs-1-2',
      author: 'policy',
      reason: '400 pairs have come beside the 200 that the student learnt from; deployment.retrain.newPairsShare is 1',
    });
    expect(await told('content')).toBe(0);
  });

  test('are counted from a least number on', () => {
    expect([timesReached(99, 10, 1), timesReached(100, 10, 1), timesReached(1_000, 0, 1)]).toEqual([0, 1, 10]);
    expect([timesReached(1_000, 2_000, 0.5), timesReached(1_000_000, 10, 0)]).toEqual([1, 0]);
  });
});
