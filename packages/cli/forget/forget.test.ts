import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { EraseResponseSchema } from '@understudy/contract/erasure';
import {
  ErasureSchema,
  type ErasureStep,
  ForgetResponseSchema,
  NoteErasureResponseSchema,
} from '@understudy/contract/pair-store';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { removeMessage } from '@understudy/service/bus/remove-message';
import { RetryableError } from '@understudy/service/errors';
import { RpcError } from '@understudy/service/rpc/status';
import { testBus } from '@understudy/service/testing';
import { compileTask, promptIdBytes, promptIdsOf, taskJson } from '@understudy/task';
import { testTask } from '@understudy/task/testing';
import { afterAll, expect, test } from 'vitest';
import { type Forgetting, forget } from './forget.ts';
import { givenIds } from './given.ts';

const cleanUp = new AsyncDisposableStack();
afterAll(() => cleanUp[Symbol.asyncDispose]());
const folder = await mkdtemp(join(tmpdir(), 'understudy-forget-'));
cleanUp.defer(() => rm(folder, { recursive: true }));
const bus = cleanUp.use(await testBus());
const task = testTask();
const version = compileTask(task, Buffer.alloc(32, 1));
const ids = [version.promptId({ text: 'a secret' })];

/** Services that answer, but for those that are away; and what was noted with pair-store. */
const platform = (away: ReadonlySet<string>) => {
  const noted: { step?: ErasureStep; done?: boolean }[] = [];
  const erasure = create(ErasureSchema, { erasureId: 'e'.repeat(16), task: task.name, inputs: 1 });
  const answered = create(ForgetResponseSchema, { erasure, promptIds: promptIdBytes(ids) });
  const connection = {
    forgetting: {
      forget: async () => answered,
      noteErasure: async (request: (typeof noted)[number]) => {
        noted.push(request);
        return create(NoteErasureResponseSchema, { erasure });
      },
    },
    eraser: (name: string) => ({
      erase: async () => {
        if (away.has(name)) throw new RpcError(status.UNIMPLEMENTED, `${name} knows no Erase`);
        return { erased: { things: 2n }, promptIds: new Uint8Array(), remains: [`something of ${name}`] };
      },
    }),
    quarantine: { quarantine: async () => ({}) },
    prompt: { getTask: async () => ({ taskJson: taskJson(task) }), listRuns: async () => ({ runs: [] }) },
  } as unknown as Forgetting['connection'];
  return { connection, noted };
};

test('a service that does not answer leaves the erasure open, and the others do their part', async () => {
  const blobs = await FolderBlobStore.open(join(folder, 'blobs'));
  const around = { bus: bus.bus, blobs, batchesFolder: join(folder, 'none'), versions: [version] };
  const request = { ...around, task: task.name, ids, source: '', author: 'Ada', reason: 'asked' };
  const broken = platform(new Set(['trainer', 'prompt']));
  const receipt = await forget({ ...request, connection: broken.connection });
  expect(receipt.missing).toEqual({ trainer: 'trainer knows no Erase', prompt: 'prompt knows no Erase' });
  expect(broken.noted.flatMap(({ step }) => step?.step ?? [])).toEqual([
    ...['teacher-gateway', 'student-gateway', 'bus', 'batches', 'runs under way', 'students'],
  ]);
  expect(broken.noted.at(-1)).toMatchObject({ done: false });
  const whole = platform(new Set());
  const done = await forget({ ...request, connection: whole.connection });
  expect(done).toMatchObject({ missing: {}, quarantined: true, students: { learnt: [], judged: [] } });
  expect(done.remains).toContain('something of prompt');
  expect(whole.noted.at(-1)).toMatchObject({ done: true });
  expect(done.remains).toContainEqual(expect.stringContaining('nothing of it was found'));
});

test('a source with more inputs than one request takes goes in several, as one erasure', async () => {
  const blobs = await FolderBlobStore.open(join(folder, 'many-blobs'));
  const { connection } = platform(new Set());
  const many = Array.from({ length: 120_000 }, (_, n) => n.toString(16).padStart(64, '0'));
  const asked: number[] = [];
  const forgotten = new Set<string>();
  connection.forgetting.forget = async ({ promptIds = new Uint8Array() }) => {
    const given = promptIdsOf(promptIds);
    asked.push(given.length);
    for (const id of given) forgotten.add(id);
    const erasure = create(ErasureSchema, { erasureId: 'e'.repeat(16), task: task.name, inputs: forgotten.size });
    return create(ForgetResponseSchema, { erasure, promptIds: promptIdBytes(forgotten) });
  };
  const { eraser } = connection;
  connection.eraser = (name) => {
    const client = eraser(name);
    const ofSource = name === 'prompt' ? promptIdBytes(many) : new Uint8Array();
    client.erase = async () => create(EraseResponseSchema, { promptIds: ofSource });
    return client;
  };
  const around = { bus: bus.bus, blobs, batchesFolder: join(folder, 'none'), versions: [version], connection };
  await forget({ ...around, task: task.name, ids: [], source: 'mail.jsonl', author: 'Ada', reason: 'asked' });
  expect(asked).toEqual([0, 50_000, 50_000, 20_000]);
  expect(forgotten.size).toBe(many.length);
});

test('whoever goes on with an erasure says its name alone, also for what is found on the way', async () => {
  const blobs = await FolderBlobStore.open(join(folder, 'resumed-blobs'));
  const { connection, noted } = platform(new Set());
  const asked: { erasureId?: string; promptIds?: Uint8Array }[] = [];
  const { forget: answer } = connection.forgetting;
  connection.forgetting.forget = async (request, options) => {
    asked.push(request);
    return answer(request, options);
  };
  const found = 'f'.repeat(64);
  const { eraser } = connection;
  connection.eraser = (name) => {
    const client = eraser(name);
    const ofSource = name === 'prompt' ? promptIdBytes([found]) : new Uint8Array();
    client.erase = async () => create(EraseResponseSchema, { promptIds: ofSource });
    return client;
  };
  const erasureId = 'e'.repeat(16);
  const around = { bus: bus.bus, blobs, batchesFolder: join(folder, 'none'), versions: [version], connection };
  const begun = { erasureId, task: task.name, ids: [], source: 'mail.jsonl', author: 'Ada', reason: 'asked' };
  const receipt = await forget({ ...around, ...begun });
  expect(asked.map((one) => [one.erasureId, promptIdsOf(one.promptIds ?? new Uint8Array())])).toEqual([
    [erasureId, []],
    [erasureId, [found]],
  ]);
  expect(receipt.missing).toEqual({});
  expect(noted.at(-1)).toMatchObject({ erasureId, done: true });
});

test('messages with the input leave the bus, and no others', async () => {
  const blobs = await FolderBlobStore.open(join(folder, 'more-blobs'));
  const address = { runId: 'r', task: task.name, taskDigest: version.digest };
  const publish = (text: string, entity: string) => {
    const { promptId, inputJson } = version.renderPrompt({ text });
    const pair = { promptId, inputJson, text, answerJson: '{"label":"ham"}' };
    return bus.publisher.publish({ type: 'teacher.answered', entity, payload: { ...address, pair } });
  };
  for (const [n, text] of ['one', 'a secret', 'two', 'a secret'].entries()) await publish(text, String(n));
  const payload = { ...address, requestId: 'q', inputJson: JSON.stringify({ text: ' a secret ' }) };
  await bus.publisher.publish({ type: 'traffic.observed', entity: 'q', payload });
  const { connection, noted } = platform(new Set());
  const around = { bus: bus.bus, blobs, batchesFolder: join(folder, 'none'), versions: [version], connection };
  await forget({ ...around, task: task.name, ids, source: '', author: 'Ada', reason: 'asked' });
  const step = noted.find((one) => one.step?.step === 'bus')?.step;
  expect(step?.erased).toEqual({ FACTS: 2n, TRAFFIC: 1n });
  const left = await bus.bus.jsm.streams.info('FACTS');
  expect(left.state.messages).toBe(2);
});

test('a message that the server refuses to delete is not taken for gone, and one that is gone is no failure', async () => {
  const { jsm, nc } = bus.bus;
  await jsm.streams.add({ name: 'KEEPS', subjects: ['keeps'], deny_delete: true });
  await jsm.streams.add({ name: 'LOSES', subjects: ['loses'] });
  for (const subject of ['keeps', 'loses']) await nc.request(subject, 'a secret');
  await expect(removeMessage(bus.bus, 'KEEPS', 1)).rejects.toThrow(RetryableError);
  expect(await removeMessage(bus.bus, 'LOSES', 1)).toBe(true);
  expect(await removeMessage(bus.bus, 'LOSES', 1)).toBe(false);
  expect(await removeMessage(bus.bus, 'LOSES', 99)).toBe(false);
});

test('students are listed after it was seen that no run trains: one that ends in between leaves no student unseen', async () => {
  const blobs = await FolderBlobStore.open(join(folder, 'racing-blobs'));
  const { connection } = platform(new Set());
  const seen: string[] = [];
  const listRuns = connection.prompt.listRuns.bind(connection.prompt);
  connection.prompt.listRuns = (...given) => {
    seen.push('runs');
    return listRuns(...given);
  };
  const list = blobs.list.bind(blobs);
  blobs.list = (kind, prefix) => {
    seen.push(kind);
    return list(kind, prefix);
  };
  const around = { bus: bus.bus, blobs, batchesFolder: join(folder, 'none'), versions: [version], connection };
  await forget({ ...around, task: task.name, ids, source: '', author: 'Ada', reason: 'asked' });
  expect(seen).toEqual(['runs', 'students']);
});

test('what is meant is given by id, text or source; no message tells the text', async () => {
  const file = join(folder, 'input');
  await writeFile(file, '{"text":"a secret"}');
  expect(givenIds([version], { input: file })).toEqual(ids);
  await writeFile(file, '\uFEFF{"text":"a secret"}\r\n');
  expect(givenIds([version], { input: file })).toEqual(ids);
  await writeFile(file, 'a secret\n');
  expect(givenIds([version], { input: file })).toEqual(ids);
  expect(givenIds([version], { id: ids[0]! })).toEqual(ids);
  expect(givenIds([version], { source: 'mail.jsonl' })).toEqual([]);
  expect(() => givenIds([version], {})).toThrow(/one of them/);
  expect(() => givenIds([version], { source: 'a', input: file })).toThrow(/one of them/);
  expect(() => givenIds([version], { id: 'abc' })).toThrow(/64 hex digits/);
  const two = compileTask(
    testTask({
      input: { fields: ['subject', 'text'] },
      prompt: { instructions: 'x', template: '{{subject}} {{text}}', maxCharacters: 100 },
    }),
  );
  await writeFile(file, '{"txt":"a secret"}');
  expect(() => givenIds([two], { input: file })).toThrow(/fields subject, text/);
  expect(() => givenIds([two], { input: file })).not.toThrow(/a secret/);
});
