import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  deploy,
  eventually,
  FakeTeacher,
  pairOf,
  studentOf,
  TestGateway,
  taskOf,
  temporaryFolder,
} from '../testing.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  [bus, folder] = await Promise.all([testBus(), temporaryFolder(), studentOf(7), studentOf(8)]);
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const question = (model: string) => ({ model, messages: [{ role: 'user', content: 'the parcel never came' }] });

interface Provenance {
  answerer: string;
  student: string | null;
  generation: number;
}

/** Asks without a pause, several at once, until told to stop. */
const keepAsking = (gateway: TestGateway, task: string) => {
  const answers: Provenance[] = [];
  const failures: unknown[] = [];
  let stopped = false;
  const client = async () => {
    while (!stopped) {
      try {
        const response = await gateway.post('/v1/chat/completions', question(task));
        const body = (await response.json()) as { understudy: Provenance };
        if (response.status === 200) answers.push(body.understudy);
        else failures.push(body);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const clients = Array.from({ length: 8 }, client);
  return {
    answers,
    failures,
    stop: async () => {
      stopped = true;
      await Promise.all(clients);
    },
  };
};

test('promotions under load fail no request, and every answer names the student that gave it', async () => {
  await using gateway = await TestGateway.start(bus.server.url, folder.path);
  const task = taskOf('swapped');
  const seeds = [7, 8, 7, 8];
  const digests = await Promise.all(seeds.map(async (seed) => (await studentOf(seed)).digest));
  await deploy(bus.bus, gateway.blobs, { task, generation: 1, seed: seeds[0]! });
  await gateway.serves('swapped', 1);
  const load = keepAsking(gateway, 'swapped');
  for (const generation of [2, 3, 4]) {
    await deploy(bus.bus, gateway.blobs, { task, generation, seed: seeds[generation - 1]! });
    await eventually(() => load.answers.filter((answer) => answer.generation === generation).length >= 20);
  }
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(new Set(load.answers.map(({ generation }) => generation))).toEqual(new Set([1, 2, 3, 4]));
  for (const { student, generation } of load.answers) expect(student).toBe(digests[generation - 1]);
});

test('a rollback to having no student sends everything to the teacher, without a failed request', async () => {
  await using teacher = await FakeTeacher.start();
  teacher.answers = async (request) => pairOf(request, 'bill');
  await using gateway = await TestGateway.start(bus.server.url, folder.path, {
    TEACHER_GATEWAY_ADDRESS: teacher.address,
  });
  const task = taskOf('rolled-back');
  await deploy(bus.bus, gateway.blobs, { task, generation: 1, seed: 7 });
  await gateway.serves('rolled-back', 1);
  const load = keepAsking(gateway, 'rolled-back');
  await deploy(bus.bus, gateway.blobs, { task, generation: 2 });
  await eventually(() => load.answers.some(({ answerer }) => answerer === 'teacher'));
  await load.stop();
  expect(load.failures).toEqual([]);
  for (const { answerer, generation } of load.answers) expect(answerer).toBe(generation === 1 ? 'student' : 'teacher');
});

test('of several promotions at once the last one wins', async () => {
  await using gateway = await TestGateway.start(bus.server.url, folder.path);
  const task = taskOf('hurried');
  for (const generation of [1, 2, 3, 4, 5, 6]) {
    await deploy(bus.bus, gateway.blobs, { task, generation, seed: generation % 2 === 0 ? 7 : 8 });
  }
  await gateway.serves('hurried', 6);
  const response = await gateway.post('/v1/chat/completions', question('hurried'));
  expect(await response.json()).toMatchObject({ understudy: { generation: 6, student: (await studentOf(7)).digest } });
});

test('a deployment that was deleted is served no more', async () => {
  await using gateway = await TestGateway.start(bus.server.url, folder.path);
  await deploy(bus.bus, gateway.blobs, { task: taskOf('deleted'), generation: 1, seed: 7 });
  await gateway.serves('deleted', 1);
  await (await bus.bus.bucket('deployments')).delete('deleted');
  await eventually(async () => (await gateway.versions('deleted')).length === 0);
  expect((await gateway.post('/v1/chat/completions', question('deleted'))).status).toBe(404);
});

test('a stopping gateway answers what was begun and takes nothing new', async () => {
  await using teacher = await FakeTeacher.start();
  const released = Promise.withResolvers<void>();
  teacher.answers = async (request) => {
    await released.promise;
    return pairOf(request, 'bill');
  };
  await using gateway = await TestGateway.start(bus.server.url, folder.path, {
    TEACHER_GATEWAY_ADDRESS: teacher.address,
    DRAIN_TIMEOUT_MS: '600000', // whoever is waited for in vain fails this test
  });
  await deploy(bus.bus, gateway.blobs, { task: taskOf('draining'), generation: 1 });
  await gateway.serves('draining', 1);
  const begun = Promise.all(
    Array.from({ length: 8 }, () => gateway.post('/v1/chat/completions', question('draining'))),
  );
  await eventually(() => teacher.asked.length === 8);
  const silent = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  await once(silent, 'connect');
  const stopped = gateway.stop();
  await eventually(() =>
    fetch(`${gateway.url}/v2/health/live`).then(
      () => false,
      () => true,
    ),
  );
  released.resolve();
  const responses = await begun;
  expect(responses.map(({ status }) => status)).toEqual(Array(8).fill(200));
  await once(silent, 'close');
  await stopped;
});
