import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readSigningKey } from '@understudy/service/signatures/keys';
import { keyFiles } from '@understudy/service/signatures/testing';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deploy, eventually, FakeTeacher, studentOf, TestGateway, taskOf, temporaryFolder } from '../testing.ts';

let bus: TestBus;
beforeAll(async () => {
  [bus] = await Promise.all([testBus(), studentOf(7), studentOf(8)]);
});
afterAll(() => bus[Symbol.asyncDispose]());

const answerer = async (gateway: TestGateway, model: string) => {
  const messages = [{ role: 'user', content: 'the parcel never came' }];
  const response = await gateway.post('/v1/chat/completions', { model, messages });
  return ((await response.json()) as { understudy: { answerer: string; generation: number } }).understudy;
};
const failedLoads = (gateway: TestGateway) => gateway.metric('understudy_gateway_deployment_failures_total');
const failedAgain = async (gateway: TestGateway) => {
  const before = await failedLoads(gateway);
  await eventually(async () => (await failedLoads(gateway)) > before);
};

test('only what a trusted key signed serves, also from this disk alone; the teacher answers where nothing does', async () => {
  await using folder = await temporaryFolder();
  await using teacher = await FakeTeacher.start();
  const files = await keyFiles(folder.path, 'key');
  const key = readSigningKey(files.signing, '')!;
  const stranger = readSigningKey((await keyFiles(folder.path, 'stranger')).signing, '')!;
  const env = {
    TEACHER_GATEWAY_ADDRESS: teacher.address,
    TRUSTED_STUDENT_KEYS_FILE: files.trusted,
    TRUSTED_REPORT_KEYS_FILE: files.trusted,
  };
  const task = taskOf('signed');
  const first = await TestGateway.start(bus.server.url, folder.path, env);
  await deploy(bus.bus, first.blobs, { task, generation: 1, seed: 7 });
  await failedAgain(first);
  await first.serves('signed', 1);
  expect(await answerer(first, 'signed')).toMatchObject({ answerer: 'teacher' });

  await deploy(bus.bus, first.blobs, { task, generation: 2, seed: 7, key });
  await first.serves('signed', 2);
  expect(await answerer(first, 'signed')).toMatchObject({ answerer: 'student', generation: 2 });

  await deploy(bus.bus, first.blobs, { task, generation: 3, seed: 8, key: stranger });
  await failedAgain(first);
  expect(await answerer(first, 'signed')).toMatchObject({ answerer: 'student', generation: 2 });
  await first.stop();

  const cache = join(folder.path, 'student-gateway', 'serving');
  const signatures = (await readdir(cache)).filter((name) => name.endsWith('.dsse.json'));
  expect(signatures).toHaveLength(2);
  await rm(join(folder.path, 'blobs'), { recursive: true });
  const second = await TestGateway.start(bus.server.url, folder.path, env);
  expect(await answerer(second, 'signed')).toMatchObject({ answerer: 'student' });
  await second.stop();
  for (const name of signatures) await writeFile(join(cache, name), 'damaged');
  await using third = await TestGateway.start(bus.server.url, folder.path, env);
  expect(await answerer(third, 'signed')).toMatchObject({ answerer: 'teacher' });
});
