import { Consumption } from '@understudy/service/bus/consume';
import { TerminalError } from '@understudy/service/errors';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { getLetter, listLetters, payloadOf, replayLetter } from './dead-letters.ts';

let server: TestBus;
beforeAll(async () => {
  server = await testBus();
});
afterAll(() => server[Symbol.asyncDispose]());

const address = { task: 'letters', taskDigest: 'a'.repeat(64) };

test('a message that died can be listed, read, and given another chance', async () => {
  const handled: string[] = [];
  let broken = true;
  const consumption = new Consumption(server, 'prompt-runs', {
    concurrency: 1,
    on: {
      'run.requested': async ({ payload }) => {
        if (broken) throw new TerminalError('out of order');
        handled.push(payload.runId);
      },
    },
  });
  consumption.start();
  await server.publisher.publish({ type: 'run.requested', entity: 'r1', payload: { ...address, runId: 'r1' } });
  await server.deadLetters(1);

  const { total, letters } = await listLetters(server.bus, 10);
  expect(total).toBe(1);
  expect(letters[0]?.letter).toMatchObject({ reason: 'out of order', consumer: 'prompt-runs', runId: 'r1' });
  const { number } = letters[0]!;
  expect(payloadOf(await getLetter(server.bus, number))).toMatchObject({ runId: 'r1', task: 'letters' });

  broken = false;
  expect(await replayLetter(server.bus, number)).toMatchObject({ subject: 'run.requested.letters', stream: 'FACTS' });
  await expect.poll(() => handled).toEqual(['r1']);
  expect((await listLetters(server.bus, 10)).letters).toEqual([]);
  await expect(replayLetter(server.bus, number)).rejects.toThrow(/there is no dead letter/);
  await consumption.stop(1_000);
});

test('a letter whose payload does not decode is shown all the same', async () => {
  await server.bus.js.publish('run.requested.letters', 'no protobuf');
  const consumption = new Consumption(server, 'prompt-runs', {
    concurrency: 1,
    on: { 'run.requested': async () => {} },
  });
  consumption.start();
  await expect.poll(async () => (await listLetters(server.bus, 10)).total).toBe(1);
  const [kept] = (await listLetters(server.bus, 10)).letters;
  expect(payloadOf(kept!.letter)).toBeUndefined();
  expect(Buffer.from(kept!.letter.payload).toString()).toBe('no protobuf');
  await consumption.stop(1_000);
});
