/** A canary is planted as an input, learnt from, forgotten, and then looked for in every file of the platform. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Verdict } from '@understudy/contract';
import { ForgettingService } from '@understudy/contract/pair-store';
import { readIdKey } from '@understudy/service/id-key';
import { createClient } from '@understudy/service/rpc/client';
import { compileTask, parseTask, promptIdBytes } from '@understudy/task';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { goOnWithErasures } from '../../deploy/local/erasures.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { filesWith } from '../harness/files-with.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, routingTask } from '../harness/task.ts';

const cli = resolve(import.meta.dirname, '../../packages/cli/main.ts');
const CANARY = 'Quetzal-9f31-Ottilie';
const input = { text: `refund for ${CANARY} of Poste Lane` };
const cleanUp = new AsyncDisposableStack();
let platform: TestPlatform;

const understudy = async (args: readonly string[], stdin = '') => {
  const env = { ...process.env, UNDERSTUDY_DATA: platform.dataDir };
  const running = promisify(execFile)(process.execPath, [cli, ...args, '--json'], { env });
  running.child.stdin?.end(stdin);
  const { stdout } = await running;
  expect(stdout).not.toContain(CANARY);
  return JSON.parse(stdout);
};
const forget = (stdin = JSON.stringify(input)) =>
  understudy(['forget', 'forgetting', '--input', '-', '--author', 'Ada', '--reason', 'asked by mail'], stdin);

/** Who answers a client that asks something else; no answer is an error. */
const answerOf = async (n: number): Promise<{ answerer: string | null; student: string | null }> => {
  const content = JSON.stringify({ text: `where is order ${n} of this week` });
  const body = JSON.stringify({ model: 'forgetting', messages: [{ role: 'user', content }] });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${platform.run.httpUrl}/v1/chat/completions`, { method: 'POST', headers, body });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return {
    answerer: response.headers.get('x-understudy-answerer'),
    student: response.headers.get('x-understudy-student'),
  };
};

/** A client that goes on asking until it is stopped. */
const ask = () => {
  const [answerers, failures]: [(string | null)[], string[]] = [[], []];
  let stopped = false;
  const asking = (async () => {
    for (let n = 0; !stopped; n += 1) {
      await answerOf(n).then(
        ({ answerer }) => answerers.push(answerer),
        (error) => failures.push(String(error)),
      );
      await sleep(20);
    }
  })();
  const stop = async () => {
    stopped = true;
    await asking;
  };
  return { answerers, failures, stop };
};

/** The file that the task reads is its owner's. */
const sourceFile = 'forgetting.jsonl';

beforeAll(async () => {
  platform = cleanUp.use(await TestPlatform.start());
  const { natsUrl } = platform.run;
  cleanUp.use(await FakeTeacher.start({ natsUrl, natsSeed: platform.operatorSeed }));
  const goal = { agreement: 0.5, coverage: 0.1, sizeBytes: 20_000_000, latencyMs: 1_000 };
  const parts = { live: { callsPerDay: 1_000_000 } };
  const options = { name: 'forgetting', folder: platform.dataDir, prompts: 1_000, teacher: natsTeacher, goal, parts };
  const task = routingTask(options);
  const file = join(platform.dataDir, sourceFile);
  writeFileSync(file, `${readFileSync(file, 'utf8')}${JSON.stringify(input)}\n`);
  const run = await platform.finished(await platform.startRun({ ...task, batches: { first: 1_001 } }));
  expect(run.verdict, run.reason).toBe(Verdict.PROMOTED);
  await platform.untilServed('forgetting');
});
afterAll(() => cleanUp[Symbol.asyncDispose]());

test('an input is forgotten: no file holds it, its student serves no more, and lineage says erased', async () => {
  const { deployment } = await platform.deployer.getDeployment({ task: 'forgetting' });
  const student = deployment!.studentDigest;
  expect(await filesWith(platform.dataDir, CANARY)).toEqual(
    expect.arrayContaining([sourceFile, expect.stringMatching(/^blobs\/samples/)]),
  );

  const clients = ask();
  const receipt = await forget();
  const after = (await platform.deployer.getDeployment({ task: 'forgetting' })).deployment!;
  const { length } = clients.answerers;
  await expect.poll(() => clients.answerers.length).toBeGreaterThan(length + 5);
  await clients.stop();
  expect(clients.failures, 'no request fails while its student is quarantined').toEqual([]);
  // The gateway knows of the quarantine, sooner or later.
  if (after.studentDigest === '') await expect.poll(async () => (await answerOf(0)).student).toBeNull();
  expect(receipt).toMatchObject({ task: 'forgetting', inputs: 1, author: 'Ada', missing: {} });
  expect(receipt.doneAt).not.toBeNull();
  const erased = new Map<string, object>(
    receipt.steps.map((one: { step: string; erased: object }) => [one.step, one.erased]),
  );
  expect(erased.get('pair-store')).toMatchObject({ prompts: 1, pairs: 1 });
  expect(erased.get('prompt')).toMatchObject({ 'sampled prompts': 1 });
  expect(erased.get('bus')).toMatchObject({ FACTS: 1 });
  expect(await filesWith(platform.dataDir, CANARY)).toEqual([sourceFile]);

  const { steps } = await understudy(['lineage', student]);
  const states = new Map(steps.map((one: { step: string; state: string }) => [one.step, one.state]));
  expect(states.get('snapshot')).toBe('erased');
  expect([...states.values()]).not.toContain('broken');
  const { decisions } = await platform.deployer.listDecisions({ task: 'forgetting' });
  const actions = decisions.map(({ action }) => action);
  expect(actions).toContain('forgot');
  // Which split the canary is in is chance: in test it is judged with, and that student stays.
  if (receipt.learnt.length > 0) {
    expect(receipt.learnt).toContain(student);
    expect(after.studentDigest).toBe('');
    expect(actions).toEqual(expect.arrayContaining(['quarantined', 'demoted']));
  } else {
    expect(receipt.judged).toContain(student);
    expect(after.studentDigest).toBe(student);
  }
});

test('an erasure whose leader was killed after the first of its steps is done without anybody who knows what it is about', async () => {
  const file = join(platform.dataDir, sourceFile);
  const [other] = readFileSync(file, 'utf8').split('\n');
  const version = compileTask(
    parseTask((await platform.prompt.getTask({ task: 'forgetting' })).taskJson),
    readIdKey(platform.run.idKeyFile),
  );
  const promptIds = promptIdBytes([version.promptId(JSON.parse(other!))]);
  const address = platform.run.grpc['pair-store']!;
  const client = createClient(ForgettingService, {
    address,
    token: readFileSync(platform.run.rpcTokenFile, 'utf8').trim(),
  });
  try {
    const who = { author: 'Bob', reason: 'asked by telephone' };
    const { erasure } = await client.forget({ task: 'forgetting', promptIds, ...who }, { timeoutMs: 200_000 });
    expect(erasure).toMatchObject({ inputs: 1, steps: [{ step: 'pair-store', erased: { pairs: 1n } }] });
    const [code] = await once(goOnWithErasures(platform.dataDir), 'close');
    const log = readFileSync(join(platform.dataDir, 'logs', 'erasures.log'), 'utf8');
    expect(code, log).toBe(0);
    const { erasures } = await understudy(['forgotten', 'forgetting']);
    const { doneAt, steps, ...told } = erasures.find(
      (one: { erasureId: string }) => one.erasureId === erasure!.erasureId,
    );
    expect(told).toMatchObject(who);
    expect(doneAt).not.toBeNull();
    const erased = new Map(steps.map((one: { step: string; erased: object }) => [one.step, one.erased]));
    expect(erased.get('prompt')).toMatchObject({ 'sampled prompts': 1 });
    expect(erased.get('bus')).toMatchObject({ FACTS: 1 });
  } finally {
    client.close();
  }
});
