import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrafficObserved } from '@understudy/contract';
import { decodePayload } from '@understudy/service/bus/event';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { maxBufferedRecords } from '../limits.ts';
import {
  deploy,
  eventually,
  FakeTeacher,
  pairOf,
  restarted,
  TestGateway,
  taskOf,
  temporaryFolder,
} from '../testing.ts';
import { Spill } from './spill.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let teacher: FakeTeacher;
beforeAll(async () => {
  [bus, folder, teacher] = await Promise.all([testBus(), temporaryFolder(), FakeTeacher.start()]);
  teacher.answers = async (request) => pairOf(request, 'bill');
});
afterAll(async () => {
  await teacher[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** All that the stream holds of one task, once there are at least so many. */
const observed = (task: string, count: number): Promise<TrafficObserved[]> =>
  eventually(async () => {
    const { state } = await bus.bus.jsm.streams.info('TRAFFIC', { subjects_filter: `*.*.${task}` });
    if ((state.subjects?.[`traffic.observed.${task}`] ?? 0) < count) return undefined;
    const sequences = Array.from(
      { length: state.last_seq - state.first_seq + 1 },
      (_, index) => state.first_seq + index,
    );
    const messages = await Promise.all(sequences.map((seq) => bus.bus.jsm.streams.getMessage('TRAFFIC', { seq })));
    return messages
      .map((message) => decodePayload('traffic.observed', message!.data))
      .filter((fact) => fact.task === task);
  });

const ask = (gateway: TestGateway, model: string, content: string) =>
  gateway.post('/v1/chat/completions', { model, messages: [{ role: 'user', content }] });

const teacherEnv = () => ({ TEACHER_GATEWAY_ADDRESS: teacher.address });

test('each answer is observed; what was asked is in it only where the task records traffic', async () => {
  await using gateway = await TestGateway.start(bus.server.url, folder.path, teacherEnv());
  const student = await deploy(bus.bus, gateway.blobs, { task: taskOf('silent'), generation: 2, seed: 7 });
  await deploy(bus.bus, gateway.blobs, { task: taskOf('silent-teacher'), generation: 1 });
  const recording = { recordTraffic: true };
  await deploy(bus.bus, gateway.blobs, { task: taskOf('recorded', recording), generation: 1, seed: 7 });
  await deploy(bus.bus, gateway.blobs, { task: taskOf('recorded-teacher', recording), generation: 1 });
  for (const [task, generation] of [
    ['silent', 2],
    ['silent-teacher', 1],
    ['recorded', 1],
    ['recorded-teacher', 1],
  ] as const)
    await gateway.serves(task, generation);
  const response = await ask(gateway, 'silent', 'where is my delivery');
  const requestId = response.headers.get('x-request-id')!;
  const [silent] = await observed('silent', 1);
  expect(silent).toMatchObject({ requestId, studentDigest: student, generation: 2n, answerer: 1 });
  expect(silent!.confidence).toBeCloseTo(Number(response.headers.get('x-understudy-confidence')), 5);
  expect(silent!.durationUs).toBeGreaterThan(0n);
  for (const hidden of ['inputJson', 'answerJson', 'pair'] as const) expect(silent![hidden]).toBeUndefined();

  await ask(gateway, 'silent-teacher', 'my secret');
  const [byTeacher] = await observed('silent-teacher', 1);
  expect(byTeacher!.answerer).toBe(2);
  for (const hidden of ['inputJson', 'answerJson', 'pair'] as const) expect(byTeacher![hidden]).toBeUndefined();

  await ask(gateway, 'recorded', 'where is my delivery');
  const input = { inputJson: '{"text":"where is my delivery"}', answerJson: '{"topic":"parcel"}' };
  const [byStudent] = await observed('recorded', 1);
  expect(byStudent).toMatchObject({ ...input, answerer: 1 });
  expect(byStudent!.pair).toBeUndefined();

  await ask(gateway, 'recorded-teacher', 'where is my delivery');
  expect((await observed('recorded-teacher', 1))[0]).toMatchObject({
    inputJson: input.inputJson,
    answerJson: '{"topic":"bill"}',
    pair: { answerJson: '{"topic":"bill"}', inputJson: input.inputJson },
  });
});

test('while the bus is away no client waits, pairs are kept on disk, and they are published when it is back', async () => {
  const gateway = await TestGateway.start(bus.server.url, folder.path, teacherEnv());
  const task = taskOf('outage', { recordTraffic: true });
  await deploy(bus.bus, gateway.blobs, { task, generation: 1 });
  await gateway.serves('outage', 1);
  await ask(gateway, 'outage', 'before');
  await observed('outage', 1);
  await bus.server.kill();
  const spilled = () => gateway.metric('understudy_gateway_traffic_spilled_bytes');
  const during = await Promise.all(Array.from({ length: 20 }, (_, index) => ask(gateway, 'outage', `during ${index}`)));
  expect(during.map(({ status }) => status)).toEqual(Array(20).fill(200));
  await eventually(async () => (await spilled()) > 0);
  // Killed with pairs on disk: they are published by whoever starts next.
  await gateway.stop();
  await restarted(bus);
  await using next = await TestGateway.start(bus.server.url, folder.path, teacherEnv());
  const facts = await observed('outage', 21);
  expect(new Set(facts.map(({ inputJson }) => inputJson)).size).toBe(21);
  await eventually(async () => (await next.metric('understudy_gateway_traffic_spilled_bytes')) === 0);
});

test('a stopping gateway publishes what it still holds', async () => {
  const gateway = await TestGateway.start(bus.server.url, folder.path);
  await deploy(bus.bus, gateway.blobs, { task: taskOf('flushed'), generation: 1, seed: 7 });
  await gateway.serves('flushed', 1);
  await Promise.all(Array.from({ length: 200 }, (_, index) => ask(gateway, 'flushed', `parcel ${index}`)));
  await gateway.stop();
  expect(await observed('flushed', 200)).toHaveLength(200);
});

test('without the bus, records beyond the buffer are dropped and counted, and clients never notice', async () => {
  await using alone = await temporaryFolder();
  const first = await TestGateway.start(bus.server.url, alone.path);
  await deploy(bus.bus, first.blobs, { task: taskOf('dropped'), generation: 1, seed: 7 });
  await first.serves('dropped', 1);
  await first.stop();
  const nowhere = 'nats://127.0.0.1:1';
  const gateway = await TestGateway.start(nowhere, alone.path);
  const rows = 250;
  const body = { inputs: [{ name: 'text', datatype: 'BYTES', shape: [rows], data: Array(rows).fill('parcel') }] };
  const requests = Math.ceil((maxBufferedRecords + 1) / rows);
  for (let index = 0; index < requests; index += 1) {
    expect((await gateway.post('/v2/models/dropped/infer', body)).status).toBe(200);
  }
  expect(await gateway.metric('understudy_gateway_traffic_dropped_total')).toBe(requests * rows - maxBufferedRecords);
  await gateway.stop();
});

test('the spill is bounded, and a line that a crash cut off costs only itself', async () => {
  const path = join(folder.path, 'spill-test', 'traffic.jsonl');
  const event = (id: string) => ({
    type: 'traffic.observed' as const,
    task: 'x',
    id,
    time: 'now',
    data: Buffer.from(id),
  });
  const spill = await Spill.open(path, 200);
  expect(await spill.add(event('one'))).toBe(true);
  expect(await spill.add(event('two'))).toBe(true);
  expect(await spill.add(event('three'))).toBe(false);
  await appendFile(path, '{"type":"traffic.obs');
  const reopened = await Spill.open(path, 200);
  expect(reopened.bytes).toBeGreaterThan(0);
  const seen: string[] = [];
  const failing = reopened.empty(async ({ id }) => {
    seen.push(id);
    if (id === 'two') throw new Error('not taken');
  });
  await expect(failing).rejects.toThrow('not taken');
  const outcome = await reopened.empty(async ({ id, data }) => {
    seen.push(`${id}=${Buffer.from(data).toString()}`);
  });
  expect(outcome).toEqual({ published: 2, unreadable: 1 });
  expect(seen).toEqual(['one', 'two', 'one=one', 'two=two']);
  expect(reopened.bytes).toBe(0);
});
