import { type TestBus, testBus } from '@understudy/service/testing';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deploy, FakeTeacher, LABELS, pairOf, TestGateway, taskOf, temporaryFolder } from '../testing.ts';

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let teacher: FakeTeacher;
let gateway: TestGateway;
let studentDigest: string;

beforeAll(async () => {
  [bus, folder, teacher] = await Promise.all([testBus(), temporaryFolder(), FakeTeacher.start()]);
  gateway = await TestGateway.start(bus.server.url, folder.path, { TEACHER_GATEWAY_ADDRESS: teacher.address });
  const { blobs } = gateway;
  studentDigest = await deploy(bus.bus, blobs, { task: taskOf('help-desk'), generation: 3, seed: 7 });
  await deploy(bus.bus, blobs, { task: taskOf('mail', {}, ['subject', 'text']), generation: 1, seed: 7 });
  await deploy(bus.bus, blobs, { task: taskOf('unsure'), generation: 1, seed: 7, threshold: 1.5 });
  const lenient = taskOf('lenient', { onTeacherUnavailable: 'answer-unsure' });
  await deploy(bus.bus, blobs, { task: lenient, generation: 1, seed: 7, threshold: 1.5 });
  await deploy(bus.bus, blobs, { task: taskOf('no-student'), generation: 5 });
  for (const [task, generation] of [
    ['help-desk', 3],
    ['mail', 1],
    ['unsure', 1],
    ['lenient', 1],
    ['no-student', 5],
  ] as const)
    await gateway.serves(task, generation);
});

afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await teacher[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const user = (content: string) => ({ role: 'user' as const, content });
const ask = (model: string, content: string) =>
  gateway.openai.chat.completions.create({ model, messages: [user(content)] });
const teacherIsAway = () => {
  teacher.answers = async () => ({ case: 'declined', value: { reason: 2, detail: 'the key sk-secret was refused' } });
};

describe('the student', () => {
  test('answers the official client with the JSON of the task, and says who it is', async () => {
    const { data, response } = await gateway.openai.chat.completions
      .create({ model: 'help-desk', messages: [{ role: 'system', content: 'ignored' }, user('the parcel never came')] })
      .withResponse();
    expect(data).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: 'chat.completion',
      model: 'help-desk',
      choices: [{ index: 0, message: { role: 'assistant', content: '{"topic":"parcel"}' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 21, completion_tokens: 1, total_tokens: 22 },
      understudy: { answerer: 'student', student: studentDigest, generation: 3, request_id: expect.any(String) },
    });
    expect(response.headers.get('x-understudy-answerer')).toBe('student');
    expect(response.headers.get('x-understudy-student')).toBe(studentDigest);
    expect(response.headers.get('x-understudy-generation')).toBe('3');
    const confidence = Number(response.headers.get('x-understudy-confidence'));
    expect(confidence).toBeGreaterThan(1 / LABELS.length);
    expect(confidence).toBeLessThanOrEqual(1);
  });

  test('reads a JSON object where the task has one field, and content in parts', async () => {
    const asObject = await ask('help-desk', JSON.stringify({ text: 'I was charged twice' }));
    const inParts = await gateway.openai.chat.completions.create({
      model: 'help-desk',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'I was ' },
            { type: 'text', text: 'charged twice' },
          ],
        },
      ],
    });
    expect(asObject.choices[0]!.message.content).toBe('{"topic":"bill"}');
    expect(inParts.choices[0]!.message.content).toBe('{"topic":"bill"}');
  });

  test('reads an object with all fields where the task has several, and states the rule otherwise', async () => {
    const good = await ask('mail', JSON.stringify({ text: 'I cannot sign in', subject: 'help' }));
    expect(good.choices[0]!.message.content).toBe('{"topic":"password"}');
    for (const content of [
      'I cannot sign in',
      '{"text":"x"}',
      '{"text":"x","subject":1}',
      '{"text":"x","subject":"y","z":""}',
    ]) {
      const error = await ask('mail', content).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(OpenAI.BadRequestError);
      expect(error.message).toContain('a JSON object with exactly the keys "subject", "text", all strings');
    }
  });

  test('streams the same content in chunks', async () => {
    const stream = await gateway.openai.chat.completions.create({
      model: 'help-desk',
      messages: [user('reset my password')],
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe('{"topic":"password"}');
    expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([null, null, 'stop', undefined]);
    expect(chunks.at(-1)!.usage).toEqual({ prompt_tokens: 17, completion_tokens: 1, total_tokens: 18 });
  });

  test('answers many at once in batches, each its own question', async () => {
    const topics = { bill: 'my invoice is wrong', parcel: 'where is my delivery', password: 'my account is locked' };
    const questions = Array.from({ length: 120 }, (_, index) => LABELS[index % LABELS.length]!);
    const answers = await Promise.all(questions.map((label, index) => ask('help-desk', `${topics[label]} ${index}`)));
    expect(answers.map((answer) => answer.choices[0]!.message.content)).toEqual(
      questions.map((label) => JSON.stringify({ topic: label })),
    );
  });
});

describe('the teacher', () => {
  test('answers where the student is unsure, under the task version that is deployed', async () => {
    teacher.answers = async (request) => pairOf(request, 'password', [0.1, 0.1, 0.8]);
    const { data, response } = await gateway.openai.chat.completions
      .create({ model: 'unsure', messages: [user('the parcel never came')] })
      .withResponse();
    expect(data.choices[0]!.message.content).toBe('{"topic":"password"}');
    expect(data.usage).toEqual({ prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 });
    expect(response.headers.get('x-understudy-answerer')).toBe('teacher');
    expect(Number(response.headers.get('x-understudy-confidence'))).toBeCloseTo(0.8);
    expect(teacher.asked.at(-1)).toMatchObject({
      task: 'unsure',
      inputJson: '{"text":"the parcel never came"}',
      purpose: 6,
    });
  });

  test('answers everything of a task without a student, and claims no confidence it was not given', async () => {
    teacher.answers = async (request) => pairOf(request, 'bill');
    const { data, response } = await gateway.openai.chat.completions
      .create({ model: 'no-student', messages: [user('anything')] })
      .withResponse();
    expect(data).toMatchObject({ understudy: { answerer: 'teacher', confidence: null, student: null, generation: 5 } });
    expect(response.headers.has('x-understudy-confidence')).toBe(false);
  });

  test('that is away makes the request fail with 503 and a time to wait, without its own words', async () => {
    teacherIsAway();
    const error = await ask('unsure', 'anything').catch((thrown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.InternalServerError);
    expect(error).toMatchObject({ status: 503, code: 'teacher_unavailable' });
    expect(error.message).not.toContain('secret');
    expect(Number(error.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  });

  test('that is away leaves the student to answer, unsure, where the task allows it', async () => {
    teacherIsAway();
    const { data, response } = await gateway.openai.chat.completions
      .create({ model: 'lenient', messages: [user('the parcel never came')] })
      .withResponse();
    expect(data.choices[0]!.message.content).toBe('{"topic":"parcel"}');
    expect(response.headers.get('x-understudy-answerer')).toBe('student-unsure');
  });

  test('that gives nothing valid is a bad gateway, and one that refuses the input says so', async () => {
    teacher.answers = async () => ({ case: 'declined', value: { reason: 4, detail: 'prose' } });
    expect(await ask('no-student', 'anything').catch((thrown) => thrown)).toMatchObject({ status: 502 });
    teacher.answers = async () => ({ case: 'declined', value: { reason: 5, detail: 'content policy' } });
    const refused = await ask('no-student', 'anything').catch((thrown) => thrown);
    expect(refused).toMatchObject({ status: 400, message: expect.stringContaining('content policy') });
  });

  test('that hangs is not waited for past the deadline', async () => {
    const own = await TestGateway.start(bus.server.url, folder.path, {
      TEACHER_GATEWAY_ADDRESS: teacher.address,
      TEACHER_TIMEOUT_MS: '100',
      TEACHER_CONCURRENCY: '1',
    });
    await own.serves('no-student', 5);
    teacher.answers = (_request, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', reject));
    const both = await Promise.all(
      ['one', 'two'].map((content) =>
        own.post('/v1/chat/completions', { model: 'no-student', messages: [user(content)] }),
      ),
    );
    expect(both.map(({ status }) => status)).toEqual([503, 503]);
    await own.stop();
  });
});

describe('models', () => {
  test('are the tasks that are deployed', async () => {
    const models = await Array.fromAsync(gateway.openai.models.list());
    expect(models.map(({ id }) => id).sort()).toEqual(['help-desk', 'lenient', 'mail', 'no-student', 'unsure']);
    expect(await gateway.openai.models.retrieve('mail')).toMatchObject({ id: 'mail', object: 'model' });
  });

  test('that are not deployed are not found', async () => {
    const error = await ask('nobody', 'x').catch((thrown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
    expect(error).toMatchObject({ status: 404, code: 'model_not_found', param: 'model' });
    await expect(gateway.openai.models.retrieve('nobody')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });
});
