import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Verdict } from '@understudy/contract';
import { RunStage, type RunState } from '@understudy/contract/prompt';
import { allHandled, freePort } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SUBMIT_SLICE_PROMPTS } from './limits.ts';
import { clientOf, type PromptClient, runWhen, Stage, taskOf } from './testing.ts';

let stage: Stage;
let child: ChildProcess | undefined;
beforeAll(async () => {
  stage = await Stage.set();
});
afterAll(async () => {
  child?.kill('SIGKILL');
  await stage[Symbol.asyncDispose]();
});

/** The service as a process of its own, serving. */
async function launched(): Promise<{ process: ChildProcess; client: PromptClient }> {
  const grpcPort = await freePort();
  // Time enough to end in order on any machine.
  const env = { ...process.env, ...stage.env, GRPC_PORT: String(grpcPort), DRAIN_TIMEOUT_MS: '120000' };
  child = spawn(process.execPath, [`${import.meta.dirname}/main.ts`], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const client = clientOf({ grpcPort });
  await expect
    .poll(() =>
      client.listTasks({}).then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
  return { process: child, client };
}

async function ended(process: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exit = once(process, 'exit');
  process.kill(signal);
  const [code] = await exit;
  return code;
}

test('kill -9 and SIGTERM in the middle of submitting: started again, every prompt is asked, with the same ids', async () => {
  // Unanswered, 20,000 are all that a life submits, so that there is a rest however late it is killed.
  const prompts = 45_000;
  stage.answerer.pause();
  const path = await stage.source('crash.jsonl', prompts);
  const taskJson = taskOf('crash', { sources: [{ kind: 'jsonl', path }], batches: { first: prompts } });
  const first = await launched();
  await first.client.applyTask({ taskJson });
  const { runId } = await first.client.startRun({ task: 'crash' });
  const seen = await runWhen(first.client, runId, ({ submitted }) => submitted >= 4_000);
  await ended(first.process, 'SIGKILL');
  first.client.close();
  expect(seen.submitted).toBeLessThan(prompts);
  // What the run still has to submit does not depend on its source any more.
  await stage.source('crash.jsonl', 1);
  stage.answerer.resume();
  await allHandled(stage.bus.bus, 'teacher-gateway-nats');
  stage.answerer.pause();

  const second = await launched();
  const again = await runWhen(second.client, runId, ({ submitted }) => submitted >= seen.submitted + 4_000);
  expect(await ended(second.process, 'SIGTERM')).toBe(0);
  second.client.close();
  expect(again.submitted).toBeLessThan(prompts);
  stage.answerer.resume();

  const third = await launched();
  const whole = await runWhen(third.client, runId, ({ answered }) => answered === prompts);
  expect(whole).toMatchObject({ submitted: prompts, population: prompts, batches: 1 });
  await expect.poll(() => stage.facts('batch.closed', runId)).toHaveLength(1);
  const [closed] = await stage.facts('batch.closed', runId);
  const manifest = new TextDecoder().decode(await stage.blobs.get('manifests', closed!.manifestDigest)).split('\n');
  expect(new Set(manifest).size).toBe(prompts);
  expect(manifest).toEqual([...stage.answerer.prompts.values()].map(({ promptId }) => promptId).sort());
  expect(stage.answerer.deliveries - prompts).toBeLessThanOrEqual(2 * SUBMIT_SLICE_PROMPTS);
  expect(await ended(third.process, 'SIGTERM')).toBe(0);
  third.client.close();
});

test('kill -9 of the bus in the middle of submitting: started again, every prompt is asked', async () => {
  const prompts = 30_000;
  const path = await stage.source('bus.jsonl', prompts);
  await using service = Object.assign(await stage.service(), {
    [Symbol.asyncDispose]: () => service.stop(),
  });
  const client = clientOf(service);
  await client.applyTask({
    taskJson: taskOf('bus', { sources: [{ kind: 'jsonl', path }], batches: { first: prompts } }),
  });
  // So that the run is not over before it is seen to be under way.
  stage.answerer.pause();
  const { runId } = await client.startRun({ task: 'bus' });
  let killedAt: number | undefined;
  let last: RunState | undefined;
  // One watch, open all the time: it goes on where it was.
  for await (const { run } of client.watchRun({ runId })) {
    last = run;
    if (killedAt === undefined && run!.submitted >= 4_000) {
      killedAt = run!.submitted;
      await stage.bus.server.kill('SIGKILL');
      await stage.bus.server.start();
      stage.answerer.resume();
    }
    if (run!.answered === prompts) break;
  }
  expect(killedAt).toBeLessThan(prompts);
  expect(last).toMatchObject({ submitted: prompts, answered: prompts });
  client.close();
});

test('a stage without a sign of life is closed with its reason, also when nobody watched for a while', async () => {
  const path = await stage.source('dead.jsonl', 20);
  const teacher = { kind: 'nats', subject: 'models.test', model: 'test', timeoutMs: 1, maxRetries: 0 };
  const service = await stage.service();
  const client = clientOf(service);
  await client.applyTask({ taskJson: taskOf('dead', { sources: [{ kind: 'jsonl', path }], teacher }) });
  const { runId } = await client.startRun({ task: 'dead' });
  await runWhen(client, runId, ({ answered }) => answered === 20);
  client.close();
  await service.stop();

  const after = await stage.service({ STAGE_GRACE_MS: '1000' });
  const other = clientOf(after);
  const over = await runWhen(other, runId, ({ stage: reached }) => reached === RunStage.FINISHED);
  expect(over.verdict).toBe(Verdict.BROKEN);
  expect(over.reason).toMatch(/^no sign of life for \d+ s while waiting for answers of the teacher and the seal/);
  await expect.poll(() => stage.facts('run.finished', runId)).toHaveLength(1);
  expect(await stage.facts('run.cancelled', runId)).toHaveLength(1);
  other.close();
  await after.stop();
});
