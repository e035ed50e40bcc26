import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Verdict } from '@understudy/contract';
import { WorkloadService } from '@understudy/contract/pair-store';
import { keyFiles } from '@understudy/service/signatures/testing';
import { loadTask } from '@understudy/task';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerOf, texts } from '../fakes/answers.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { filesWith } from '../harness/files-with.ts';
import { TestPlatform } from '../harness/platform.ts';

const calls = 700;
const atOnce = 25;
const canary = 'sk-canary-of-the-client-71c0';
const cli = resolve(import.meta.dirname, '../../packages/cli/main.ts');

let folder: string;
let teacher: FakeTeacher;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'understudy-drop-in-'));
  teacher = await FakeTeacher.start();
});
afterAll(async () => {
  await teacher[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const schema = {
  type: 'object',
  properties: { team: { enum: ['billing', 'shipping', 'access'] } },
  required: ['team'],
  additionalProperties: false,
};
const end = '\n-- end of message';
const asked = (text: string) => ({
  model: 'large',
  messages: [
    { role: 'system' as const, content: 'Which team handles this message?' },
    { role: 'user' as const, content: text + end },
  ],
  response_format: { type: 'json_schema' as const, json_schema: { name: 'routing', strict: true, schema } },
});

/** Keys that `lineage` is told to trust. */
const trusting: NodeJS.ProcessEnv = {};
const understudy = async (dataDir: string, ...args: string[]) => {
  const env = { ...process.env, ...trusting, UNDERSTUDY_DATA: dataDir };
  const { stdout } = await promisify(execFile)(process.execPath, [cli, ...args, '--json'], { env });
  return JSON.parse(stdout);
};

const sendAll = async (client: OpenAI, inputs: readonly string[]) => {
  const replies: { content: string | null; headers: Headers }[] = [];
  for (let from = 0; from < inputs.length; from += atOnce) {
    const some = inputs.slice(from, from + atOnce).map(async (text) => {
      const { data, response } = await client.chat.completions.create(asked(text)).withResponse();
      return { content: data.choices[0]!.message.content, headers: response.headers };
    });
    replies.push(...(await Promise.all(some)));
  }
  return replies;
};

test('a base URL is changed, a workload shows, is adopted, and the same calls are answered by a student', async () => {
  const prices = join(folder, 'prices.json');
  await writeFile(prices, '{"large": {"inputUsdPerMillionTokens": 100, "outputUsdPerMillionTokens": 200}}');
  const dataDir = join(folder, 'data');
  const [trainers, evaluators] = [await keyFiles(folder, 'trainer'), await keyFiles(folder, 'evaluator')];
  trusting.TRUSTED_STUDENT_KEYS_FILE = trainers.trusted;
  trusting.TRUSTED_REPORT_KEYS_FILE = evaluators.trusted;
  const signing = { STUDENT_SIGNING_KEY_FILE: trainers.signing, REPORT_SIGNING_KEY_FILE: evaluators.signing };
  const env = { UPSTREAM_BASE_URL: teacher.baseUrl, RECORD_CALLS: '1', PRICES_FILE: prices, ...signing, ...trusting };
  await using platform = await TestPlatform.start({ dataDir, env });
  const client = new OpenAI({ baseURL: `${platform.run.httpUrl}/v1`, apiKey: canary, maxRetries: 0 });
  const population = texts(calls + 100);

  const passed = await sendAll(client, population.slice(0, calls));
  expect(passed.map(({ content }) => content)).toEqual(
    population.slice(0, calls).map((text) => answerOf(text, schema)),
  );
  expect(passed.filter(({ headers }) => headers.has('x-understudy-answerer'))).toEqual([]);
  await platform.kill('pair-store');
  const { listWorkloads } = platform.client(WorkloadService, 'pair-store');
  await platform.until(async () => {
    for await (const { workload } of listWorkloads({})) if (workload!.calls >= BigInt(calls)) return true;
    return false;
  });

  const { workloads } = await understudy(dataDir, 'workloads');
  // 20 tokens in and 5 out a call.
  const money = { spentMicroUsd: String(calls * 3_000), savesMicroUsd: String(calls * 2_400) };
  expect(workloads).toMatchObject([
    { calls: String(calls), distinctInputs: String(calls), distinctOutputs: '3', keptPairs: calls, ...money },
  ]);
  expect(workloads[0]).toMatchObject({ distillable: true, model: 'large', system: asked('').messages[0]!.content });
  const adopted = await understudy(
    dataDir,
    'adopt',
    workloads[0].workloadId.slice(0, 8),
    '--name',
    'routing',
    '--out',
    folder,
  );
  expect(adopted).toMatchObject({ task: 'routing', pairs: calls });
  await expect(
    understudy(dataDir, 'adopt', workloads[0].workloadId, '--name', 'routing', '--out', folder),
  ).rejects.toThrow('is there already');

  const task = await loadTask(adopted.files.task);
  expect(task.prompt.template).toBe(`{{text}}${end}`);
  const before = (await teacher.stats()).calls;
  // Few calls to learn from and to prove it with: far below what such a student reaches.
  const goal = { ...task.goal, agreement: 0.8, coverage: 0.5, latencyMs: 1_000 };
  const splits = { dev: 0.2, test: 0.3 };
  const run = await platform.finished(await platform.startRun({ ...task, goal, splits }));
  expect(Verdict[run.verdict], run.reason).toBe('PROMOTED');
  expect((await teacher.stats()).calls).toBe(before);
  await platform.untilServed('routing');
  const file = join(folder, 'report.html');
  expect(await understudy(dataDir, 'report', 'routing', '--html', file)).toEqual({ run: run.runId, file });
  await expect(understudy(dataDir, 'report', 'routing', '--html', folder)).rejects.toThrow('cannot be written');
  const page = await readFile(file, 'utf8');
  for (const plot of ['risk-coverage', 'reliability', 'pareto']) expect(page).toContain(`<title id="${plot}-title">`);
  expect(page).toContain('as recorded of its workloads');

  const fresh = population.slice(calls);
  const answered = await sendAll(client, fresh);
  const byStudent = answered.filter(({ headers }) => headers.get('x-understudy-answerer') === 'student');
  expect(byStudent.length).toBeGreaterThan(fresh.length / 2);
  expect(byStudent[0]!.headers.get('x-understudy-student')).toBe(run.student!.digest);
  const right = answered.filter(({ content }, index) => content === answerOf(fresh[index]!, schema));
  expect(right.length).toBeGreaterThanOrEqual(fresh.length * 0.9);

  // Where it comes from and what was made of it fits together, and from the blobs alone as far as they go.
  const lineage = await understudy(dataDir, 'lineage', 'routing');
  expect(lineage).toMatchObject({ student: run.student!.digest, task: 'routing', intact: true });
  expect(new Set(lineage.steps.map(({ state }: { state: string }) => state))).toEqual(new Set(['verified']));
  expect(lineage.steps.filter(({ step }: { step: string }) => step === 'signature')).toHaveLength(2);
  const copy = join(folder, 'copy');
  await cp(join(dataDir, 'blobs'), join(copy, 'blobs'), { recursive: true });
  const offline = await understudy(copy, 'lineage', run.student!.digest.slice(0, 10));
  expect(offline).toMatchObject({ student: run.student!.digest, intact: true });
  const unverified = offline.steps.filter(({ state }: { state: string }) => state !== 'verified');
  // Blobs hold neither the key that prompts' ids are made with nor what the services know.
  expect(unverified.map(({ step }: { step: string }) => step)).toEqual(['prompt', 'run', 'approval', 'deployment']);
  await writeFile(join(copy, 'blobs', 'students', run.student!.digest), 'forged');
  await expect(understudy(copy, 'lineage', run.student!.digest)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('lineage is broken at the student: '),
  });

  // The client's key went to the upstream and nowhere else, and the keys that signed went nowhere.
  expect((await readdir(join(dataDir, 'logs'))).length).toBeGreaterThan(0);
  for (const secret of [canary, trainers.secret, evaluators.secret]) {
    expect(await filesWith(dataDir, secret)).toEqual([]);
  }
});
