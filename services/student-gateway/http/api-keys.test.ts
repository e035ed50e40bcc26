import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deploy, TestGateway, taskOf, temporaryFolder } from '../testing.ts';
import { ApiKeys } from './api-keys.ts';

const forAll = 'sk-for-everything-1234';
const forOne = 'sk-for-one-task-56789';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let keysFile: string;
beforeAll(async () => {
  [bus, folder] = await Promise.all([testBus(), temporaryFolder()]);
  keysFile = join(folder.path, 'keys.json');
  await writeFile(
    keysFile,
    JSON.stringify([
      { name: 'operations', key: forAll },
      { name: 'billing', key: forOne, tasks: ['mine'] },
    ]),
  );
  await chmod(keysFile, 0o600);
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

test('with keys, each caller asks and sees its own tasks and no others', async () => {
  await using gateway = await TestGateway.start(bus.server.url, folder.path, { API_KEYS_FILE: keysFile });
  for (const name of ['mine', 'theirs']) {
    await deploy(bus.bus, gateway.blobs, { task: taskOf(name), generation: 1, seed: 7 });
  }
  const auth = (key: string) => ({ authorization: `Bearer ${key}` });
  const models = async (key: string) => {
    const response = await fetch(`${gateway.url}/v1/models`, { headers: auth(key) });
    return ((await response.json()) as { data: { id: string }[] }).data.map(({ id }) => id).sort();
  };
  while ((await models(forAll)).length < 2);
  expect(await models(forAll)).toEqual(['mine', 'theirs']);
  expect(await models(forOne)).toEqual(['mine']);
  const status = async (model: string, headers: Record<string, string>) => {
    const body = { model, messages: [{ role: 'user', content: 'parcel' }] };
    return (await gateway.post('/v1/chat/completions', body, headers)).status;
  };
  expect(await status('mine', auth(forOne))).toBe(200);
  expect(await status('theirs', auth(forOne))).toBe(403);
  expect(await status('nobody', auth(forOne))).toBe(403);
  expect(await status('theirs', auth(forAll))).toBe(200);
  expect(await status('mine', {})).toBe(401);
  expect(await status('mine', auth('sk-something-else-0000'))).toBe(401);
  expect(await status('mine', { authorization: `Basic ${forAll}` })).toBe(401);
  expect((await fetch(`${gateway.url}/v2/health/ready`)).status).toBe(200);
});

test('without keys the gateway refuses to be reachable by other machines', async () => {
  const starting = TestGateway.start(bus.server.url, folder.path, { HTTP_HOST: '0.0.0.0' });
  await expect(starting).rejects.toThrow(/HTTP_HOST 0\.0\.0\.0 is open to other machines: set API_KEYS_FILE/);
});

test('a taken port is named', async () => {
  await using gateway = await TestGateway.start(bus.server.url, folder.path);
  const port = new URL(gateway.url).port;
  const starting = TestGateway.start(bus.server.url, folder.path, { HTTP_PORT: port });
  await expect(starting).rejects.toThrow(
    new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port} \\(HTTP_HOST, HTTP_PORT\\)`),
  );
});

test.each([
  ['that is missing', undefined, /cannot read .*keys-bad\.json/],
  ['that is no JSON', `[{"name": "x", "key": "${forAll}"`, /keys-bad\.json: expected JSON/],
  ['without keys', '[]', /at least one key/],
  ['with a short key', '[{"name": "x", "key": "short"}]', /0\.key: expected at least 16 characters/],
  ['with a word it does not know', `[{"name": "x", "key": "${forAll}", "task": "mine"}]`, /task/],
])('a keys file %s is refused without quoting it', async (_what, content, message) => {
  const path = join(folder.path, 'keys-bad.json');
  if (content !== undefined) await writeFile(path, content);
  expect(() => ApiKeys.read(path)).toThrow(message);
  expect(() => ApiKeys.read(path)).not.toThrow(new RegExp(forAll));
});
