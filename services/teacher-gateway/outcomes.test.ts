import { DeclineReason, Purpose } from '@understudy/contract';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Failure } from '../../test/fakes/failures.ts';
import { Stage, texts } from './testing.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.start();
  await stage.gateway();
});
afterEach(() => stage.fake.reset());
afterAll(() => stage[Symbol.asyncDispose]());

const once = { timeoutMs: 60_000, maxRetries: 1, rate: { concurrency: 64 } };
/** Of a teacher of which nothing comes, however long one waits. */
const silent = { timeoutMs: 400 };
const teachers = {
  openai: () => ({ kind: 'openai', model: 'fake', baseUrl: stage.fake.baseUrl, ...once }),
  nats: () => ({ kind: 'nats', model: 'fake', subject: 'models.fake', ...once }),
};
const pricing = { inputUsdPerMillionTokens: 1_000, outputUsdPerMillionTokens: 2_000 };

describe.each(['openai', 'nats'] as const)('over %s', (kind) => {
  test('a prompt gets a valid answer with what it cost', async () => {
    const task = await stage.apply({ name: `fine-${kind}`, teacher: { ...teachers[kind](), pricing } });
    const [prompt] = await stage.submit(task, `fine-${kind}`, ['login is broken']);
    await stage.outcomes(`fine-${kind}`, 1);
    const [fact] = stage.answeredIn(`fine-${kind}`);
    expect(fact).toMatchObject({ cached: false, batch: 1, taskDigest: task.digest });
    const label = JSON.parse(fact!.pair!.answerJson).team;
    expect(task.output.single?.labels).toContain(label);
    expect(fact!.pair).toMatchObject({
      promptId: prompt!.promptId,
      text: 'login is broken',
      purpose: Purpose.LABEL,
      usage: { calls: 1, inputTokens: 20n, outputTokens: 5n, spentMicroUsd: 30_000n },
    });
  });

  test.each([
    ['rate-limited', DeclineReason.UNAVAILABLE, 2],
    ['server-error', DeclineReason.UNAVAILABLE, 2],
    ['slow', DeclineReason.UNAVAILABLE, 2],
    ['truncated', DeclineReason.UNAVAILABLE, 2],
    ['reset', DeclineReason.UNAVAILABLE, 2],
    ['not-json', DeclineReason.INVALID_ANSWER, 2],
    ['outside-schema', DeclineReason.INVALID_ANSWER, 2],
    ['prose', DeclineReason.INVALID_ANSWER, 2],
  ] as const)(
    'a teacher that is %s: the prompt is declined with the reason after so many calls',
    async (failure, reason, calls) => {
      const runId = `${failure}-${kind}`;
      const patience = failure === 'slow' || failure === 'reset' ? silent : {};
      // Ten failures in a row would be no matter of the prompt any more.
      const task = await stage.apply({ name: runId, teacher: { ...teachers[kind](), ...patience, model: failure } });
      await stage.fake.behave({ failures: { [failure]: 1 }, slowMs: 60_000, retryAfterMs: 50 });
      await stage.submit(task, runId, ['any text']);
      await stage.outcomes(runId, 1);
      const [fact] = stage.declinedIn(runId);
      expect(fact && { reason: DeclineReason[fact.reason], attempts: fact.attempts }).toEqual({
        reason: DeclineReason[reason],
        attempts: calls,
      });
      expect(fact!.detail).not.toBe('');
    },
  );
});

const severalFields = {
  type: 'object',
  properties: {
    urgent: { type: 'boolean' },
    subject: { type: 'string', 'x-copied-from': 'text' },
    rooms: { type: 'integer', minimum: 1, maximum: 9 },
  },
  required: ['urgent', 'subject'],
  additionalProperties: false,
};

test('answers of several fields are kept whole, and those that are none are declined with what is wrong', async () => {
  const ask = async (failure: Failure | undefined) => {
    const runId = `fields-${failure ?? 'none'}`;
    const task = await stage.apply({ name: runId, teacher: teachers.nats(), output: { schema: severalFields } });
    await stage.fake.behave({ failures: failure ? { [failure]: 1 } : {} });
    await stage.submit(task, runId, ['a room with a view']);
    await stage.outcomes(runId, 1);
    const [answered] = stage.answeredIn(runId);
    return answered?.pair?.answerJson ?? stage.declinedIn(runId)[0]?.detail.split(':')[0];
  };
  const { subject, urgent } = JSON.parse((await ask(undefined)) as string);
  expect([subject, typeof urgent]).toEqual(['a', 'boolean']);
  const reasons = {
    'not-json': 'not-json',
    'prose-around': 'prose-around-json',
    'two-objects': 'several-objects',
    'outside-schema': 'outside-schema',
    'no-such-span': 'span-not-in-text',
    'cut-json': 'not-json',
  } as const;
  for (const [failure, reason] of Object.entries(reasons)) expect(await ask(failure as Failure)).toBe(reason);
});

test('a failure that passes costs attempts, not the answer', async () => {
  const task = await stage.apply({ name: 'flaky', teacher: { ...teachers.nats(), maxRetries: 8 } });
  await stage.fake.behave({ failures: { 'server-error': 0.15, truncated: 0.1 } });
  await stage.submit(task, 'flaky', texts(40));
  await stage.outcomes('flaky', 40);
  expect(stage.declinedIn('flaky')).toEqual([]);
  const calls = stage.answeredIn('flaky').reduce((sum, { pair }) => sum + pair!.usage!.calls, 0);
  expect(calls).toBe((await stage.fake.stats()).calls);
  expect(calls).toBeGreaterThan(42);
});

describe('what was paid for once is not paid again', () => {
  test('by another run, another batch, or when a prompt comes again', async () => {
    const task = await stage.apply({ name: 'again', teacher: teachers.nats() });
    await stage.submit(task, 'again-1', texts(20));
    await stage.outcomes('again-1', 20);
    await stage.submit(task, 'again-1', texts(20), { batch: 2 });
    await stage.submit(task, 'again-1', texts(20), { again: 'x' });
    await stage.submit(task, 'again-2', texts(30));
    await stage.outcomes('again-2', 30);
    await expect.poll(() => stage.answeredIn('again-1').filter(({ batch }) => batch === 2).length).toBe(20);
    expect((await stage.fake.stats()).calls).toBe(30);
    const second = stage.answeredIn('again-2');
    expect(second.filter(({ cached }) => cached)).toHaveLength(20);
    expect(new Set(second.map(({ pair }) => pair!.pairId)).size).toBe(30);
  });

  test('by two replicas that have it in hand at the same time', async () => {
    await stage.stopGateways();
    // So few at a time that each takes its share.
    await Promise.all([1, 2].map(() => stage.gateway({ TEACHER_CONCURRENCY: '16' })));
    const task = await stage.apply({ name: 'at-once', teacher: teachers.nats() });
    await stage.submit(task, 'at-once', texts(5, 'first'));
    await stage.outcomes('at-once', 5);
    await stage.fake.reset();
    await stage.fake.behave({ latencyMs: 400 });
    await Promise.all(['', 'x'].map((again) => stage.submit(task, 'at-once', texts(200), { again })));
    await stage.outcomes('at-once', 205);
    await stage.allHandled('nats');
    const { calls, distinct } = await stage.fake.stats();
    expect([calls, distinct]).toEqual([200, 200]);
  });

  test('by a replica that starts later and knows only what the pair store knows', async () => {
    const task = await stage.apply({ name: 'later', teacher: teachers.nats() });
    const before = stage.pairStore.pairs.size;
    await stage.submit(task, 'later-1', texts(50, 'login'));
    await stage.outcomes('later-1', 50);
    await expect.poll(() => stage.pairStore.pairs.size).toBe(before + 50);
    await stage.stopGateways();
    await stage.gateway();
    await stage.submit(task, 'later-2', texts(50, 'login'));
    await stage.outcomes('later-2', 50);
    expect((await stage.fake.stats()).calls).toBe(50);
    expect(stage.answeredIn('later-2').every(({ cached }) => cached)).toBe(true);
  });

  test('but a purpose that is about the teacher itself asks again', async () => {
    const task = await stage.apply({ name: 'anew', teacher: teachers.nats() });
    await stage.submit(task, 'anew-1', ['the same']);
    await stage.outcomes('anew-1', 1);
    await stage.submit(task, 'anew-2', ['the same'], { purpose: Purpose.CEILING, sampleNumber: 1 });
    await stage.outcomes('anew-2', 1);
    expect((await stage.fake.stats()).calls).toBe(2);
    const pairs = ['anew-1', 'anew-2'].map((run) => stage.answeredIn(run)[0]!.pair!);
    expect(pairs[0]!.pairId).not.toBe(pairs[1]!.pairId);
    expect(pairs[0]!.promptId).toBe(pairs[1]!.promptId);
  });
});

describe('a prompt that is not right', () => {
  test.each([
    ['input_json', { inputJson: '{"text":' }, /input_json: expected JSON/],
    ['a field too many', { inputJson: '{"text":"a","more":"b"}' }, /unknown field more/],
    ['an id of another input', { inputJson: '{"text":"another"}' }, /prompt_id: expected [0-9a-f]{64}/],
    ['no purpose', { purpose: Purpose.UNSPECIFIED }, /purpose/],
    ['a reference that is no label', { referenceJson: '{"team":"nobody"}' }, /reference_json/],
  ])('%s: declined with what was expected, nothing is asked', async (name, wrong, message) => {
    const runId = `wrong-${name.replaceAll(/[^a-z]/g, '-')}`;
    const task = await stage.apply({ name: 'wrong', teacher: teachers.nats() });
    await stage.submit(task, runId, ['right'], { change: wrong });
    await stage.outcomes(runId, 1);
    const [fact] = stage.declinedIn(runId);
    expect(fact).toMatchObject({
      reason: DeclineReason.INVALID_PROMPT,
      attempts: 0,
      detail: expect.stringMatching(message),
    });
    expect((await stage.fake.stats()).calls).toBe(0);
  });

  test('of a task that nobody applied, or that has another name, becomes a dead letter', async () => {
    const task = await stage.apply({ name: 'known', teacher: teachers.nats() });
    await stage.submit(task, 'unknown', ['a'], { change: { taskDigest: '0'.repeat(64) } });
    const [unknown] = await stage.bus.deadLetters(1);
    expect(unknown).toMatchObject({ runId: 'unknown', reason: expect.stringContaining('there is no such task') });
    await stage.submit(task, 'renamed', ['a'], { change: { task: 'other' } });
    await expect
      .poll(async () => (await stage.bus.deadLetters(1))[0]!.reason)
      .toContain('version of known, not of other');
  });
});

test('a missing key is told by name before anything is asked', async () => {
  const task = await stage.apply({ name: 'keyless', teacher: { ...teachers.openai(), apiKeyEnv: 'NO_SUCH_KEY_HERE' } });
  await stage.submit(task, 'keyless', ['a']);
  await stage.outcomes('keyless', 1);
  expect(stage.declinedIn('keyless')[0]).toMatchObject({
    reason: DeclineReason.UNAUTHORIZED,
    attempts: 0,
    detail: expect.stringContaining('NO_SUCH_KEY_HERE'),
  });
});

test('a cancelled run is not spent on, what waits for its turn gives up', async () => {
  const slow = { ...teachers.nats(), rate: { concurrency: 1 } };
  const task = await stage.apply({ name: 'cancelled', teacher: slow });
  await stage.fake.behave({ answers: 0 });
  await stage.submit(task, 'cancelled', texts(30));
  await expect.poll(async () => (await stage.fake.stats()).calls).toBe(1);
  const fact = { runId: 'cancelled', task: 'cancelled', taskDigest: task.digest };
  await stage.bus.publisher.publish({ type: 'run.cancelled', entity: 'cancelled', payload: fact });
  await stage.outcomes('cancelled', 29);
  expect(stage.declinedIn('cancelled').map(({ reason }) => reason)).toEqual(Array(29).fill(DeclineReason.CANCELLED));
  // The call that was under way is paid, and its answer kept.
  await stage.fake.behave({});
  await stage.outcomes('cancelled', 30);
  expect(stage.answeredIn('cancelled')).toHaveLength(1);
  expect((await stage.fake.stats()).calls).toBe(1);
});

test('a run that was cancelled before this replica started is not spent on either', async () => {
  const task = await stage.apply({ name: 'before', teacher: teachers.nats() });
  await stage.stopGateways();
  await stage.submit(task, 'before', texts(50));
  const fact = { runId: 'before', task: 'before', taskDigest: task.digest };
  await stage.bus.publisher.publish({ type: 'run.cancelled', entity: 'before', payload: fact });
  await stage.gateway();
  await stage.outcomes('before', 50);
  expect(stage.declinedIn('before')).toHaveLength(50);
  expect((await stage.fake.stats()).calls).toBe(0);
});

test('a traced prompt has spans after the GenAI conventions, and its answer belongs to the same trace', async () => {
  const task = await stage.apply({ name: 'traced', teacher: teachers.openai() });
  const folder = await stage.folder();
  await stage.stopGateways();
  const { process } = await stage.gateway({ TRACES_DIR: folder.path });
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const heard = stage.bus.bus.nc.subscribe('teacher.answered.traced');
  await stage.submit(task, 'traced', ['sampled'], { traceparent: `00-${traceId}-b7ad6b7169203331-01` });
  const [traceparent] = await Promise.all([
    (async () => {
      for await (const message of heard) return message.headers?.get('traceparent');
      return undefined;
    })(),
    stage.outcomes('traced', 1),
  ]);
  await stage.submit(task, 'traced', ['not sampled'], { traceparent: `00-${traceId}-b7ad6b7169203331-00` });
  await stage.outcomes('traced', 2);
  await process.kill('SIGTERM');
  const spans = await folder.spans();
  expect(spans.map(({ name }) => name).toSorted()).toEqual(['answer prompt', 'chat fake']);
  const [prompt, call] = spans.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  expect(prompt).toMatchObject({ traceId, parentSpanId: 'b7ad6b7169203331' });
  expect(call).toMatchObject({
    traceId,
    parentSpanId: prompt!.spanId,
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': 'fake',
      'gen_ai.response.model': 'fake-2026-01',
      'gen_ai.usage.input_tokens': 20,
      'gen_ai.usage.output_tokens': 5,
    },
  });
  expect(traceparent).toBe(`00-${traceId}-${prompt!.spanId}-01`);
});
