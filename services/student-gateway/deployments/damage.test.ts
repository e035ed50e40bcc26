import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NatsServer, type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  deploy,
  eventually,
  FakeTeacher,
  restarted,
  studentOf,
  TestGateway,
  taskOf,
  temporaryFolder,
} from '../testing.ts';

let bus: TestBus;
beforeAll(async () => {
  [bus] = await Promise.all([testBus(), studentOf(7), studentOf(8)]);
});
afterAll(() => bus[Symbol.asyncDispose]());

const provenance = async (gateway: TestGateway, model: string) => {
  const messages = [{ role: 'user', content: 'the parcel never came' }];
  const response = await gateway.post('/v1/chat/completions', { model, messages });
  return { status: response.status, ...((await response.json()) as { understudy?: object }).understudy };
};

const failedLoads = (gateway: TestGateway, count = 1) =>
  eventually(async () => (await gateway.metric('understudy_gateway_deployment_failures_total')) >= count);

test('a bundle that is damaged raises an alarm and the old student keeps serving, until the bundle is repaired', async () => {
  await using folder = await temporaryFolder();
  await using gateway = await TestGateway.start(bus.server.url, folder.path);
  const task = taskOf('damaged');
  await deploy(bus.bus, gateway.blobs, { task, generation: 1, seed: 7 });
  await gateway.serves('damaged', 1);
  const { digest, archive } = await studentOf(8);
  await gateway.blobs.put('students', archive);
  const file = join(folder.path, 'blobs', 'students', digest);
  await writeFile(
    file,
    archive.map((byte, index) => (index === 1_000 ? byte ^ 1 : byte)),
  );
  const bucket = await bus.bus.bucket('deployments');
  const { previous: _, ...first } = (await bucket.get('damaged'))!.json<Record<string, unknown>>();
  const policy = {
    version: 1,
    studentDigest: digest,
    field: 'topic',
    labels: ['bill', 'parcel', 'password'],
    temperature: 1,
    threshold: 0,
  };
  const policyDigest = await gateway.blobs.put('policies', Buffer.from(JSON.stringify(policy)));
  await bucket.put('damaged', JSON.stringify({ ...first, studentDigest: digest, policyDigest, generation: '2' }));
  await failedLoads(gateway);
  expect(await provenance(gateway, 'damaged')).toMatchObject({ status: 200, generation: 1 });
  await writeFile(file, archive);
  await gateway.serves('damaged', 2);
  expect(await provenance(gateway, 'damaged')).toMatchObject({ status: 200, generation: 2, student: digest });
});

test.each([
  ['whose bundle is no bundle', { archive: Buffer.from('not a bundle'), seed: 7 }],
  ['whose student is not the one the policy was made for', { archive: 'other' as const, seed: 7 }],
])('a deployment %s is not served; the teacher answers until there is a student', async (name, plan) => {
  await using folder = await temporaryFolder();
  await using teacher = await FakeTeacher.start();
  await using gateway = await TestGateway.start(bus.server.url, folder.path, {
    TEACHER_GATEWAY_ADDRESS: teacher.address,
  });
  const task = taskOf(`unfit-${name.length}`);
  const archive = plan.archive === 'other' ? (await studentOf(8)).archive : plan.archive;
  // The deployment's digest is that of the wrong archive, and the policy names the right student.
  await deploy(bus.bus, gateway.blobs, { task, generation: 1, ...plan, archive });
  await failedLoads(gateway);
  await gateway.serves(task.name, 1);
  expect(await provenance(gateway, task.name)).toMatchObject({ status: 200, answerer: 'teacher', student: null });
});

test('a deployment that cannot be read changes nothing', async () => {
  await using folder = await temporaryFolder();
  await using gateway = await TestGateway.start(bus.server.url, folder.path);
  await deploy(bus.bus, gateway.blobs, { task: taskOf('unreadable'), generation: 1, seed: 7 });
  await gateway.serves('unreadable', 1);
  const bucket = await bus.bus.bucket('deployments');
  const good = (await bucket.get('unreadable'))!.string();
  await bucket.put('unreadable', '{"task": "unreadable", "generation": {}}');
  await bucket.put('unreadable', good.replace('"task":"unreadable"', '"task":"another"'));
  await deploy(bus.bus, gateway.blobs, { task: taskOf('after-it'), generation: 1, seed: 7 });
  await gateway.serves('after-it', 1);
  expect(await provenance(gateway, 'unreadable')).toMatchObject({ status: 200, generation: 1 });
});

test('a gateway starts without bus and blobs, serves what it served last, and catches up when the bus comes back', async () => {
  await using own = await testBus();
  await using folder = await temporaryFolder();
  const task = taskOf('alone');
  const first = await TestGateway.start(own.server.url, folder.path);
  const studentDigest = await deploy(own.bus, first.blobs, { task, generation: 1, seed: 7 });
  await first.serves('alone', 1);
  await first.stop();
  await own.server.kill();
  await rm(join(folder.path, 'blobs'), { recursive: true });

  await using second = await TestGateway.start(own.server.url, folder.path);
  expect(await provenance(second, 'alone')).toMatchObject({ status: 200, generation: 1, student: studentDigest });
  expect((await fetch(`${second.url}/v2/health/ready`)).status).toBe(200);
  await restarted(own);
  await deploy(own.bus, second.blobs, { task, generation: 2, seed: 8 });
  await second.serves('alone', 2);

  // A server that dies and comes back is followed again, too.
  await own.server.kill();
  expect(await provenance(second, 'alone')).toMatchObject({ status: 200, generation: 2 });
  await restarted(own);
  await deploy(own.bus, second.blobs, { task, generation: 3, seed: 7 });
  await second.serves('alone', 3);
});

test('a gateway that never served anything is not ready until the bus has told it what to serve', async () => {
  await using server = await NatsServer.start();
  await using folder = await temporaryFolder();
  await server.kill();
  await using gateway = await TestGateway.start(server.url, folder.path);
  expect((await fetch(`${gateway.url}/v2/health/live`)).status).toBe(200);
  expect((await fetch(`${gateway.url}/v2/health/ready`)).status).toBe(503);
});

test('a damaged memory on disk is done without', async () => {
  await using folder = await temporaryFolder();
  const first = await TestGateway.start(bus.server.url, folder.path);
  await deploy(bus.bus, first.blobs, { task: taskOf('forgotten'), generation: 1, seed: 7 });
  await first.serves('forgotten', 1);
  await first.stop();
  const cache = join(folder.path, 'student-gateway', 'serving');
  for (const name of await readdir(cache)) await writeFile(join(cache, name), 'damaged');
  await using second = await TestGateway.start(bus.server.url, folder.path);
  await second.serves('forgotten', 1);
  expect(await provenance(second, 'forgotten')).toMatchObject({ status: 200, answerer: 'student' });
});
