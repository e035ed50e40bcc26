import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { BatchMessage, BatchReport, BatchRequest } from '@understudy/cli/batch-report';
import { DeclineReason, Source } from '@understudy/contract';
import { PromptService } from '@understudy/contract/prompt';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import { type CompiledTask, taskJson } from '@understudy/task';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Stage, type TaskOptions, texts, until } from '../testing.ts';
import { openContext } from './context.ts';
import { runBatch } from './run-batch.ts';

const canary = 'sk-canary-4f9d1c';
let stage: Stage;
let prompts: RpcServer;
let env: NodeJS.ProcessEnv;
let gateway: ReturnType<Stage['client']>;
/** What the task of a test is, and what its sample holds. */
let compiled: CompiledTask;
let population: string[];

beforeAll(async () => {
  stage = await Stage.start();
  const { grpcPort } = await stage.gateway({ BATCH_KEY: canary });
  gateway = stage.client(grpcPort);
  const { telemetry } = stage.bus;
  const unasked = () => {
    throw notFound('not asked for here');
  };
  prompts = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry }, [
    rpcService(PromptService, {
      ...{ applyTask: unasked, listTasks: unasked, startRun: unasked, drawSample: unasked, getRun: unasked },
      ...{ listRuns: unasked, watchRun: unasked, cancelRun: unasked },
      getTask: async () => ({ taskJson: taskJson(compiled.task), taskDigest: compiled.digest }),
      streamSample: async function* ({ prompts: wanted }) {
        const sampled = population
          .slice(0, wanted || population.length)
          .map((one) => compiled.renderPrompt({ text: one }));
        for (const { promptId, inputJson } of sampled) {
          yield { prompts: [{ promptId, inputJson, source: Source.RANDOM, origin: 'a', weight: 2 }] };
        }
      },
    }),
  ]);
  await prompts.listen();
  env = {
    ...process.env,
    PROMPT_ADDRESS: `127.0.0.1:${prompts.port}`,
    PAIR_STORE_ADDRESS: `127.0.0.1:${stage.pairStore.port}`,
    TEACHER_GATEWAY_ADDRESS: `127.0.0.1:${grpcPort}`,
    TEACHER_ALLOWED_ADDRESSES: 'loopback',
    BATCH_POLL_MS: '5',
    BATCH_KEY: canary,
  };
});
afterAll(async () => {
  gateway?.close();
  await prompts?.stop(100);
  await stage[Symbol.asyncDispose]();
});
beforeEach(() => stage.fake.reset());
afterEach(() => {
  stage.pairStore.importing = undefined;
  stage.pairStore.pairs.clear();
});

/** A task over so many texts, and what is asked to be done with it. */
const requestFor = async (name: string, count: number, change: Partial<TaskOptions> = {}): Promise<BatchRequest> => {
  const teacher = { kind: 'openai', model: 'fake', baseUrl: stage.fake.baseUrl, apiKeyEnv: 'BATCH_KEY' };
  compiled = await stage.apply({ name, ...change, teacher: { ...teacher, ...change.teacher } });
  population = texts(count, name);
  return { task: name, taskDigest: compiled.digest, book: join(stage.path, `${name}.sqlite`), submit: true };
};

/** The batch's process, as the command line starts it. */
const started = (request: BatchRequest) => {
  const child = fork(join(import.meta.dirname, 'main.ts'), [JSON.stringify(request)], {
    env,
    silent: true,
    execArgv: [],
  });
  const messages: BatchMessage[] = [];
  child.on('message', (message: BatchMessage) => messages.push(message));
  let printed = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (more) => {
      printed += more;
    });
  }
  const ended = once(child, 'close').then(([code]) => {
    expect(`${printed}${JSON.stringify(messages)}`).not.toContain(canary);
    return { code, printed, ...(Object.assign({}, ...messages) as { report?: BatchReport; failed?: string }) };
  });
  return { child, ended };
};

/** What the batches of the test's task may cost, and did: calls, and millionths of a US dollar. */
const accounted = async () => {
  const { task, digest } = compiled;
  const { reservedCalls, reservedMicroUsd, calls, spentMicroUsd } = await gateway.getLedger({
    task: task.name,
    batchOf: digest,
  });
  return { reserved: [Number(reservedCalls), Number(reservedMicroUsd)], spent: [Number(calls), Number(spentMicroUsd)] };
};

/** The same without a process. */
const runHere = async (request: BatchRequest): Promise<BatchReport> => {
  using context = await openContext(JSON.stringify(request), env);
  return await runBatch(context, () => {});
};

/** The whole command, on a platform that the environment names. */
const commanded = async (...args: string[]) => {
  const token = join(stage.path, 'token');
  await writeFile(token, 'token');
  const nobody = '127.0.0.1:1';
  const unasked = { EVALUATOR_ADDRESS: nobody, DEPLOYER_ADDRESS: nobody, STUDENT_GATEWAY_ADDRESS: nobody };
  const elsewhere = { ...unasked, NATS_URL: stage.bus.server.url, HTTP_URL: `http://${nobody}`, NATS_NKEY_FILE: token };
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../../packages/cli/main.ts'), 'batch', ...args],
    {
      env: { ...env, ...elsewhere, RPC_TOKEN_FILE: token, UNDERSTUDY_DATA: stage.path },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const [printed, notes] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  expect(`${printed}${notes}`).not.toContain(canary);
  return { code: child.exitCode, printed, notes };
};

test('on the command line: what it would cost, then all of it', async () => {
  await requestFor('commanded', 4);
  const dry = await commanded('commanded');
  expect(dry).toMatchObject({ code: 0, notes: '' });
  expect(dry.printed).toMatch(/^task commanded: 4 prompts in 1 files, at most \$0.00/);
  const done = await commanded('commanded', '--submit', '--per-file', '3', '--json');
  expect(JSON.parse(done.printed)).toMatchObject({ task: 'commanded', prompts: 4, outcomes: { answered: 4 } });
  expect(done.notes).toMatch(/part 2: 1 requests were uploaded as file-2\n/);
  expect(await commanded('commanded', '--out', 'x', '--submit')).toMatchObject({ code: 2 });
});

test('a batch in several files: a run finds its answers and asks nothing; the same command again asks nothing', async () => {
  const request = { ...(await requestFor('batched', 7)), perFile: 3 };
  const first = await started(request).ended;
  expect(first).toMatchObject({ code: 0, printed: '' });
  expect(first.report).toMatchObject({ prompts: 7, known: 0, outcomes: { answered: 7 }, strays: {}, inputTokens: 140 });
  expect(first.report!.parts.map(({ prompts: count, status }) => [count, status])).toEqual([
    [3, 'completed'],
    [3, 'completed'],
    [1, 'completed'],
  ]);
  expect(await runHere(request)).toEqual(first.report);
  expect(await stage.fake.batches()).toMatchObject({ uploads: 3, batches: 3, repeated: {} });

  const [pair] = stage.pairStore.pairs.values();
  expect(pair).toMatchObject({ source: Source.RANDOM, origin: 'a', weight: 2, usage: { calls: 1, inputTokens: 20n } });

  await stage.submit(compiled, 'after-batch', population);
  await stage.outcomes('after-batch', 7);
  expect(stage.answeredIn('after-batch').map(({ cached }) => cached)).toEqual(Array(7).fill(true));
  expect((await stage.fake.stats()).calls).toBe(0);

  // Another book: what the pair store has is not asked again.
  population.push('one more text');
  const later = await runHere({ ...request, book: `${request.book}.other` });
  expect(later).toMatchObject({ prompts: 1, known: 7, outcomes: { answered: 1 } });
});

test('kill -9 in every phase: the same command goes on, and no prompt is submitted twice', async () => {
  const request = await requestFor('killed', 5);
  const holds = ['upload-before', 'upload-after', 'create-before', 'create-after', 'retrieve', 'content'];
  for (const hold of holds) {
    await stage.fake.behave({ batches: { hold } });
    const { child, ended } = started(request);
    await until(async () => (await stage.fake.batches()).held.includes(hold));
    // Two at once: the second leaves the batch to the first.
    if (hold === 'retrieve') await expect(runHere(request)).rejects.toThrow(/another process works on this batch/);
    child.kill('SIGKILL');
    await ended;
  }
  await stage.fake.behave({});
  const imports = Promise.withResolvers<void>();
  stage.pairStore.importing = () => {
    imports.resolve();
    return new Promise(() => {});
  };
  const { child, ended } = started(request);
  await imports.promise;
  child.kill('SIGKILL');
  await ended;
  stage.pairStore.importing = undefined;
  expect(await runHere(request)).toMatchObject({ prompts: 5, outcomes: { answered: 5 }, strays: {} });
  expect(stage.pairStore.pairs.size).toBe(5);
  expect(await stage.fake.batches()).toMatchObject({ uploads: 1, batches: 1, repeated: {}, held: holds });
  expect(await accounted()).toEqual({ reserved: [0, 0], spent: [5, 0] });
});

/** Prices with which a call of the fake teacher costs 3,000 millionths, and a few times that at most. */
const pricing = { inputUsdPerMillionTokens: 100, outputUsdPerMillionTokens: 200 };

test('what a batch costs is paid from the budget of the next run, and of no further one', async () => {
  const teacher = { maxOutputTokens: 50, pricing };
  const request = await requestFor('paid', 4, { budget: { calls: 6, usd: 10 }, teacher });
  await runHere(request);
  expect(await accounted()).toEqual({ reserved: [0, 0], spent: [4, 12_000] });

  const others = texts(6, 'asked by runs');
  await stage.submit(compiled, 'paid-1', [...population, ...others]);
  await stage.outcomes('paid-1', 10);
  expect(
    stage
      .answeredIn('paid-1')
      .map(({ cached }) => cached)
      .filter(Boolean),
  ).toHaveLength(4);
  expect((await stage.fake.stats()).calls).toBe(2);
  expect(stage.declinedIn('paid-1').map(({ reason }) => reason)).toEqual(Array(4).fill(DeclineReason.BUDGET));

  await stage.submit(compiled, 'paid-2', texts(6, 'asked by another run'));
  await stage.outcomes('paid-2', 6);
  expect((await stage.fake.stats()).calls).toBe(2 + 6);
});

test('while a batch is at the provider, what it may cost is reserved: no other batch has it, nor the run that begins then', async () => {
  const request = await requestFor('reserved', 4, {
    budget: { calls: 5, usd: 10 },
    teacher: { maxOutputTokens: 50, pricing },
  });
  await stage.fake.behave({ batches: { hold: 'create-after' } });
  const { child, ended } = started(request);
  await until(async () => (await stage.fake.batches()).held.includes('create-after'));
  child.kill('SIGKILL');
  await ended;
  const { reserved, spent } = await accounted();
  expect([reserved[0], spent]).toEqual([4, [0, 0]]);
  expect(reserved[1]).toBeGreaterThan(12_000);
  await stage.fake.behave({});
  const other = { ...request, book: `${request.book}.other` };
  await expect(runHere(other)).rejects.toThrow(
    /part 1: .* beyond its budget of 5 calls and \$10; nothing of it was sent/,
  );
  const inParts = { ...request, book: `${request.book}.parts`, perFile: 1 };
  await expect(runHere(inParts)).rejects.toThrow(/part 2: .* nothing of it was sent/);
  expect(await accounted()).toEqual({ reserved, spent });
  expect(await stage.fake.batches()).toMatchObject({ uploads: 1, batches: 1 });

  await stage.submit(compiled, 'meanwhile', texts(3, 'asked meanwhile'));
  await stage.outcomes('meanwhile', 3);
  expect((await stage.fake.stats()).calls).toBe(1);
  await runHere(request);
  expect(await accounted()).toEqual({ reserved: [0, 0], spent: [4, 12_000] });
});

test('every line that is no answer is counted by what it is, and the rest is imported', async () => {
  const request = await requestFor('mangled', 12);
  await stage.fake.behave({ batches: { mangled: true, unavailable: 2 } });
  const report = await runHere(request);
  expect(report.outcomes).toEqual({
    answered: 3,
    'invalid not-json': 1,
    'invalid outside-schema': 1,
    'cut-off': 1,
    rejected: 1,
    malformed: 1,
    overloaded: 1,
    'status 400': 1,
    'error server-error': 1,
    'no-line (batch completed)': 1,
  });
  expect(report.strays).toEqual({ 'unknown-custom-id': 1, 'duplicate-line': 1, 'unreadable-line': 2 });
  expect(stage.pairStore.pairs.size).toBe(3);
});

test.each([
  ['expired', 'error batch_expired'],
  ['cancelled', 'no-line (batch cancelled)'],
])('a batch that has %s gives what it answered before', async (end, reason) => {
  const request = await requestFor(end, 6);
  await stage.fake.behave({ batches: { end } });
  const report = await runHere(request);
  expect(report).toMatchObject({ outcomes: { answered: 3, [reason]: 3 }, parts: [{ status: end }] });
  expect(stage.pairStore.pairs.size).toBe(3);
});

test('a file that the provider refuses is submitted again by the next command', async () => {
  const request = await requestFor('refused-file', 2);
  await stage.fake.behave({ batches: { end: 'failed' } });
  await expect(runHere(request)).rejects.toThrow(/refused part 1: token_limit_exceeded too many tokens/);
  await stage.fake.behave({});
  expect(await runHere(request)).toMatchObject({ outcomes: { answered: 2 } });
});

test('what can cost more than the budget is refused with the figures before anything is sent', async () => {
  const pricing = { inputUsdPerMillionTokens: 0, outputUsdPerMillionTokens: 1 };
  const teacher = { pricing, maxOutputTokens: 100_000 };
  const request = await requestFor('dear', 5, { teacher, budget: { calls: 5, usd: 0.35 } });
  await expect(runHere(request)).rejects.toThrow(
    /5 prompts can cost up to \$0.5000, beyond budget.usd .* \$0.3500: --prompts 3 fits/,
  );
  await expect(runHere({ ...request, prompts: 6 })).rejects.toThrow(
    /6 prompts are beyond budget.calls of task dear, 5/,
  );
  expect(await stage.fake.batches()).toMatchObject({ uploads: 0, batches: 0 });
  expect(await runHere({ ...request, prompts: 3 })).toMatchObject({ prompts: 3, boundUsd: 0.3, outputTokens: 15 });
  await expect(runHere({ ...request, prompts: 4 })).rejects.toThrow(
    /has a batch of 3 prompts, and a version of a task/,
  );
});

test('written files hold the requests, and nothing that is there is written over', async () => {
  const request = {
    ...(await requestFor('written', 3)),
    submit: false,
    perFile: 2,
    out: join(stage.path, 'a.b/../out.jsonl'),
  };
  const { files } = await runHere({ ...request, out: join(stage.path, 'out.jsonl') });
  expect(files).toEqual([join(stage.path, 'out-1.jsonl'), join(stage.path, 'out-2.jsonl')]);
  const lines = (await readFile(files[0]!, 'utf8')).trim().split('\n');
  expect(lines).toHaveLength(2);
  expect(JSON.parse(lines[0]!)).toMatchObject({
    custom_id: compiled.renderPrompt({ text: population[0] }).promptId,
    method: 'POST',
    url: '/v1/chat/completions',
    body: {
      model: 'fake',
      temperature: 0,
      max_tokens: 256,
      messages: [{ role: 'system' }, { content: population[0] }],
    },
  });
  await expect(runHere({ ...request, out: join(stage.path, 'out.jsonl') })).rejects.toThrow(/is there already/);
  expect(await stage.fake.batches()).toMatchObject({ uploads: 0 });
});

test.each([
  ['a key that is not there', { apiKeyEnv: 'NO_SUCH_KEY' }, /NO_SUCH_KEY/],
  ['an address that is not allowed', { baseUrl: 'http://169.254.169.254/v1' }, /teacher.baseUrl/],
  [
    'a teacher of another kind',
    { kind: 'nats', subject: 'models.fake', baseUrl: undefined, apiKeyEnv: undefined },
    /kind openai/,
  ],
  ['several samples', { samples: 3, temperature: 1 }, /teacher.samples/],
])('%s is refused', async (name, teacher, message) => {
  const request = await requestFor(name.replaceAll(' ', '-'), 1, { teacher });
  await expect(runHere(request)).rejects.toThrow(message);
});
