import { nanos } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf } from '../blobs/blob-store.ts';
import { RetryableError, TerminalError } from '../errors.ts';
import { type TestBus, testBus } from '../testing.ts';
import { Consumption } from './consume.ts';
import { Sweeper } from './sweep.ts';

const taskDigest = digestOf(new TextEncoder().encode('task'));
const address = { runId: 'run-1', task: 'bus-test', taskDigest };

let server: TestBus;
beforeAll(async () => {
  server = await testBus();
});
afterAll(() => server[Symbol.asyncDispose]());

const consuming = (
  options: ConstructorParameters<typeof Consumption>[2],
  name: ConstructorParameters<typeof Consumption>[1],
) => {
  const consumption = new Consumption(server, name, options);
  consumption.start();
  return consumption;
};

const publishRequest = (runId: string) =>
  server.publisher.publish({
    type: 'run.requested',
    entity: runId,
    payload: { ...address, runId },
    traceparent: undefined,
  });

test('a retryable failure brings the message again, and success ends it', async () => {
  const deliveries: number[] = [];
  const done = Promise.withResolvers<void>();
  const consumption = consuming(
    {
      concurrency: 4,
      on: {
        'run.requested': async (event) => {
          deliveries.push(event.deliveries);
          if (event.deliveries < 3) throw new RetryableError('not yet', { afterMs: 10 });
          done.resolve();
        },
      },
    },
    'prompt-runs',
  );
  await publishRequest('again');
  await done.promise;
  await consumption.stop(60_000);
  expect(deliveries).toEqual([1, 2, 3]);
  const info = await server.bus.jsm.consumers.info('FACTS', 'prompt-runs');
  expect(info.num_ack_pending + info.num_pending).toBe(0);
});

test('a terminal failure, a message without type, and one that does not decode become dead letters with reasons', async () => {
  const consumption = consuming(
    {
      concurrency: 1,
      on: {
        'run.requested': async () => {
          throw new TerminalError('never');
        },
      },
    },
    'prompt-runs',
  );
  await publishRequest('terminal');
  await server.bus.js.publish('run.requested.bus-test', 'no headers at all');
  const { headers } = await import('@nats-io/transport-node');
  const head = headers();
  head.set('ce-type', 'understudy.run.requested.v1');
  await server.bus.js.publish('run.requested.bus-test', new Uint8Array([255, 255, 255]), { headers: head });
  const letters = await server.deadLetters(3);
  await consumption.stop(60_000);
  expect(letters.map((letter) => letter.reason).sort()).toEqual([
    expect.stringMatching(/^header ce-type: expected understudy/),
    expect.stringMatching(/^never$/),
    expect.stringMatching(/^the payload is no understudy.event.v1.RunRequested/),
  ]);
  expect(letters.find((letter) => letter.reason === 'never')).toMatchObject({ runId: 'terminal', task: 'bus-test' });
});

test('an event of a newer version waits instead of failing', async () => {
  const handled: string[] = [];
  const consumption = consuming(
    { concurrency: 1, on: { 'run.requested': async (event) => void handled.push(event.payload.runId) } },
    'prompt-runs',
  );
  const before = (await server.bus.jsm.streams.info('DEAD_LETTERS')).state.messages;
  const { headers } = await import('@nats-io/transport-node');
  const head = headers();
  head.set('ce-type', 'understudy.run.requested.v2');
  await server.bus.js.publish('run.requested.bus-test', new Uint8Array(), { headers: head });
  await publishRequest('after-newer');
  await expect.poll(() => handled).toContain('after-newer');
  await consumption.stop(60_000);
  const info = await server.bus.jsm.consumers.info('FACTS', 'prompt-runs');
  expect(info.num_ack_pending).toBe(1);
  expect((await server.bus.jsm.streams.info('DEAD_LETTERS')).state.messages).toBe(before);
});

test('one bad event of a batch is dead-lettered alone', async () => {
  const good = new Set<string>();
  const consumption = consuming(
    {
      maxBatch: 10,
      maxWaitMs: 20,
      onBatch: async (events) => {
        if (events.some((event) => (event.payload as { reason: string }).reason === 'bad'))
          throw new TerminalError('bad event');
        for (const event of events) good.add((event.payload as { runId: string }).runId);
      },
    },
    'pair-store-batches',
  );
  const runs = Array.from({ length: 25 }, (_, index) => `batch-${index}`);
  await Promise.all(
    runs.map((runId, index) =>
      server.publisher.publish({
        type: 'run.cancelled',
        entity: runId,
        payload: { ...address, runId, reason: index === 7 ? 'bad' : 'fine' },
      }),
    ),
  );
  await expect.poll(() => good.size).toBe(24);
  const letters = await server.deadLetters(1);
  await consumption.stop(60_000);
  expect(letters.at(-1)).toMatchObject({ reason: 'bad event', runId: 'batch-7' });
});

test('publishing the same entity twice stores one message', async () => {
  const before = (await server.bus.jsm.streams.info('FACTS')).state.messages;
  await publishRequest('twice');
  await publishRequest('twice');
  expect((await server.bus.jsm.streams.info('FACTS')).state.messages).toBe(before + 1);
});

test('a message whose every handler died is swept into the dead letters', async () => {
  await server.bus.jsm.consumers.update('FACTS', 'deployer-verdicts', { max_deliver: 1, ack_wait: 100_000_000 });
  const letters = async () => (await server.bus.jsm.streams.info('DEAD_LETTERS')).state.messages;
  const before = await letters();
  const sweeper = new Sweeper(server.bus, server.publisher, server.telemetry);
  sweeper.start();
  await server.publisher.publish({ type: 'eval.passed', entity: 'swept', payload: { ...address, runId: 'swept' } });
  const consumer = await server.bus.js.consumers.get('FACTS', 'deployer-verdicts');
  const message = await consumer.next({ expires: 120_000 });
  expect(message).not.toBeNull();
  // The handler dies here: nothing acknowledges. Somebody must ask again for the server to notice.
  while ((await letters()) === before) await consumer.next({ expires: 1_000 });
  expect(await server.deadLetters(1)).toMatchObject([{ runId: 'swept' }]);
  await sweeper.stop();
});

test('a message is kept alive as often as the server needs to hear of it', async () => {
  const ackWaitMs = 300;
  await server.bus.jsm.consumers.update('FACTS', 'evaluator-students', { ack_wait: nanos(ackWaitMs) });
  let kept = 0;
  const acks = server.bus.nc.subscribe('$JS.ACK.FACTS.evaluator-students.>', {
    callback: (_, message) => {
      if (message.string() === '+WPI') kept += 1;
    },
  });
  const finished = Promise.withResolvers<void>();
  const consumption = consuming(
    {
      concurrency: 1,
      on: {
        'student.trained': async () => {
          // Timers of one process: a slow machine slows both, these and those that keep the message alive.
          for (let wait = 0; wait < 10; wait += 1) await new Promise((wake) => setTimeout(wake, ackWaitMs / 3));
          finished.resolve();
        },
      },
    },
    'evaluator-students',
  );
  await server.publisher.publish({ type: 'student.trained', entity: 'kept', payload: { ...address, runId: 'kept' } });
  await finished.promise;
  await consumption.stop(60_000);
  acks.unsubscribe();
  expect(kept).toBeGreaterThanOrEqual(5);
});

const publishSealed = (runId: string) =>
  server.publisher.publish({ type: 'pairs.sealed', entity: runId, payload: { ...address, runId } });

test('no message is taken that cannot be begun: another replica gets it', async () => {
  const gate = Promise.withResolvers<void>();
  const begun: string[] = [];
  const slow = () => ({
    concurrency: 1,
    on: {
      'pairs.sealed': async ({ payload }: { payload: { runId: string } }) => {
        begun.push(payload.runId);
        await gate.promise;
      },
    },
  });
  const first = consuming(slow(), 'trainer-snapshots');
  const runs = ['one', 'two', 'three', 'four'].map((name) => `unhoarded-${name}`);
  for (const runId of runs) await publishSealed(runId);
  await expect.poll(() => begun.length).toBe(1);
  const second = consuming(slow(), 'trainer-snapshots');
  await expect.poll(() => begun.length).toBe(2);
  const info = await server.bus.jsm.consumers.info('FACTS', 'trainer-snapshots');
  expect(info.num_pending).toBe(2);
  gate.resolve();
  await expect.poll(() => begun.toSorted()).toEqual(runs.toSorted());
  await Promise.all([first.stop(60_000), second.stop(60_000)]);
});

test('a gate holds messages back on the server, and a stop does not wait for it', async () => {
  const gate = Promise.withResolvers<void>();
  const handled: string[] = [];
  const options = {
    concurrency: 4,
    gate: () => gate.promise,
    on: { 'pairs.sealed': async ({ payload }: { payload: { runId: string } }) => void handled.push(payload.runId) },
  };
  const held = consuming(options, 'trainer-snapshots');
  await publishSealed('gated');
  await held.stop(60_000);
  expect(handled).toEqual([]);
  const info = await server.bus.jsm.consumers.info('FACTS', 'trainer-snapshots');
  expect(info.num_pending).toBe(1);
  const open = consuming(options, 'trainer-snapshots');
  gate.resolve();
  await expect.poll(() => handled).toEqual(['gated']);
  await open.stop(60_000);
});
