import { StudentGatewayService } from '@understudy/contract/student-gateway';
import { RetryableError } from '@understudy/service/errors';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deploy, FakeTeacher, pairOf, TestGateway, taskOf, temporaryFolder } from '../testing.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let teacher: FakeTeacher;
let gateway: TestGateway;
let student: string;
let rpc: RpcClient<typeof StudentGatewayService>;
beforeAll(async () => {
  [bus, folder, teacher] = await Promise.all([testBus(), temporaryFolder(), FakeTeacher.start()]);
  gateway = await TestGateway.start(bus.server.url, folder.path, { TEACHER_GATEWAY_ADDRESS: teacher.address });
  student = await deploy(bus.bus, gateway.blobs, {
    task: taskOf('mail', {}, ['subject', 'text']),
    generation: 4,
    seed: 7,
  });
  await deploy(bus.bus, gateway.blobs, { task: taskOf('by-teacher'), generation: 1 });
  await gateway.serves('mail', 4);
  await gateway.serves('by-teacher', 1);
  rpc = createClient(StudentGatewayService, { address: `127.0.0.1:${gateway.running.grpcPort}` });
});
afterAll(async () => {
  rpc.close();
  await gateway[Symbol.asyncDispose]();
  await teacher[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const get = async (path: string) => {
  const response = await fetch(`${gateway.url}${path}`);
  return { status: response.status, body: await response.json() };
};

describe('the Open Inference Protocol over REST', () => {
  test('tells that it is live and ready, and what a model takes and gives', async () => {
    expect(await get('/v2/health/live')).toEqual({ status: 200, body: { live: true } });
    expect(await get('/v2/health/ready')).toEqual({ status: 200, body: { ready: true } });
    expect(await get('/v2/models/mail/ready')).toEqual({ status: 200, body: { name: 'mail', ready: true } });
    expect(await get('/v2')).toMatchObject({ status: 200, body: { name: 'understudy' } });
    expect((await get('/v2/models/mail')).body).toMatchObject({
      name: 'mail',
      versions: ['4'],
      inputs: [
        { name: 'subject', datatype: 'BYTES', shape: [-1] },
        { name: 'text', datatype: 'BYTES', shape: [-1] },
      ],
      outputs: [{ name: 'answer' }, { name: 'answerer' }, { name: 'confidence' }],
    });
  });

  test('answers many rows in one request, in their order', async () => {
    const texts = ['my invoice is wrong', 'where is my delivery', 'my account is locked'];
    const rows = Array.from({ length: 90 }, (_, index) => texts[index % 3]!);
    const column = (name: string, data: string[]) => ({ name, datatype: 'BYTES', shape: [data.length, 1], data });
    const response = await gateway.post('/v2/models/mail/infer', {
      id: 'my-request',
      inputs: [
        column(
          'subject',
          rows.map(() => 'hello'),
        ),
        column('text', rows),
      ],
    });
    const body = (await response.json()) as { outputs: { name: string; data: unknown[] }[] };
    expect(body).toMatchObject({ model_name: 'mail', model_version: '4', id: 'my-request', parameters: { student } });
    const [answers, answerers, confidences] = body.outputs.map(({ data }) => data);
    const topics = ['bill', 'parcel', 'password'];
    expect(answers).toEqual(rows.map((_, index) => JSON.stringify({ topic: topics[index % 3] })));
    expect(new Set(answerers)).toEqual(new Set(['student']));
    for (const confidence of confidences!) expect(confidence).toBeGreaterThan(1 / 3);
  });

  test('fails as a whole when the teacher of one row is away', async () => {
    teacher.answers = async (request) =>
      request.inputJson.includes('bad') ? { case: 'declined', value: { reason: 2 } } : pairOf(request, 'bill');
    const inputs = [{ name: 'text', datatype: 'BYTES', shape: [2], data: ['good', 'bad'] }];
    const response = await gateway.post('/v2/models/by-teacher/infer', { inputs });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await response.json()).toEqual({ error: expect.stringMatching(/teacher/) });
  });
});

describe('Predict over gRPC', () => {
  test('answers with who, how sure, and which student', async () => {
    const inputJson = JSON.stringify({ subject: 'hello', text: 'where is my delivery' });
    const response = await rpc.predict({ task: 'mail', inputJson });
    expect(response).toMatchObject({
      answerJson: '{"topic":"parcel"}',
      answerer: 1,
      studentDigest: student,
      generation: 4n,
    });
    expect(response.confidence).toBeGreaterThan(1 / 3);
    expect(response.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('says what is wrong with a request', async () => {
    await expect(rpc.predict({ task: 'nobody', inputJson: '{}' })).rejects.toThrow(/"nobody" is not deployed here/);
    await expect(rpc.predict({ task: 'mail', inputJson: 'no json' })).rejects.toThrow(/input_json: expected a JSON/);
    await expect(rpc.predict({ task: 'mail', inputJson: '{"text":"x"}' })).rejects.toThrow(/field subject is missing/);
  });

  test('fails for a while, with a time to wait, when the teacher is away', async () => {
    teacher.answers = async () => ({ case: 'declined', value: { reason: 1 } });
    const failed = await rpc.predict({ task: 'by-teacher', inputJson: '{"text":"x"}' }).catch((error) => error);
    expect(failed).toBeInstanceOf(RetryableError);
    expect(failed).toMatchObject({ afterMs: 60_000, message: expect.stringMatching(/budget/) });
  });
});
