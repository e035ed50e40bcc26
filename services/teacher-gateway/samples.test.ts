import { join } from 'node:path';
import { DeclineReason, Purpose } from '@understudy/contract';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { softFromSamples } from './teachers/soft-labels.ts';
import { Stage, texts } from './testing.ts';

const teacher = { kind: 'nats', model: 'dice', subject: 'models.dice', samples: 4, maxRetries: 2 };
const pricing = { inputUsdPerMillionTokens: 1, outputUsdPerMillionTokens: 4 };
const error = { error: { status: 503, message: 'not now' } };
const say = (team: string) => ({ content: JSON.stringify({ team }), model: 'dice-1' });

let stage: Stage;
/** What a text gets, one after the other; then the last again. */
const scripts = new Map<string, object[]>();
let asked: string[] = [];

beforeAll(async () => {
  stage = await Stage.start();
  stage.bus.bus.nc.subscribe('models.dice', {
    callback: (_, message) => {
      const { text } = message.json<{ text: string }>();
      asked.push(text);
      const script = scripts.get(text) ?? [say('billing')];
      message.respond(JSON.stringify(script.length > 1 ? script.shift() : script[0]));
    },
  });
  await stage.gateway();
});
afterAll(() => stage[Symbol.asyncDispose]());

test('a prompt is asked as often as the task says, and its pair has the distribution', async () => {
  const task = await stage.apply({ name: 'sampled', teacher });
  const [plain, rough] = texts(2) as [string, string];
  scripts.set(plain, ['billing', 'access', 'billing', 'shipping'].map(say));
  scripts.set(rough, [say('access'), error, { content: 'Perhaps billing?' }, say('access'), say('billing')]);
  asked = [];
  await stage.submit(task, 'run-sampled', [plain, rough]);
  await stage.outcomes('run-sampled', 2);
  const pairs = stage.answeredIn('run-sampled').map(({ pair }) => pair!);
  const of = (text: string) => pairs.find((pair) => pair.text === text)!;
  expect(of(plain)).toMatchObject({ answerJson: '{"team":"billing"}', sampleNumber: 0 });
  expect(of(plain).soft).toMatchObject([{ head: 'team', probabilities: [0.5, 0.25, 0.25] }]);
  expect(of(plain).usage!.calls).toBe(4);
  // Failed attempts are paid and made again, within the task's retries.
  expect(of(rough).soft).toMatchObject([{ head: 'team', probabilities: [0.5, 0, 0.5] }]);
  expect(of(rough).usage!.calls).toBe(6);
  expect(asked).toHaveLength(10);
});

test('questions of other purposes are about one answer', async () => {
  const task = await stage.apply({ name: 'ceiling', teacher });
  await stage.submit(task, 'run-ceiling', texts(1, 'invoice'), { purpose: Purpose.CEILING, sampleNumber: 1 });
  await stage.outcomes('run-ceiling', 1);
  expect(stage.answeredIn('run-ceiling')[0]!.pair).toMatchObject({ soft: [], usage: { calls: 1 } });
});

test('where the budget ends between samples, those that were paid count', async () => {
  const task = await stage.apply({ name: 'poor', teacher, budget: { calls: 6, usd: 1 } });
  for (const text of texts(3, 'login')) scripts.set(text, ['shipping', 'shipping', 'access', 'access'].map(say));
  asked = [];
  await stage.submit(task, 'run-poor', texts(3, 'login'));
  await stage.outcomes('run-poor', 3);
  expect(asked).toHaveLength(6);
  for (const { reason } of stage.declinedIn('run-poor')) expect(reason).toBe(DeclineReason.BUDGET);
  const pairs = stage.answeredIn('run-poor').map(({ pair }) => pair!);
  expect(pairs.length).toBeGreaterThan(0);
  expect(pairs.reduce((sum, { usage }) => sum + usage!.calls, 0)).toBe(6);
  for (const { usage, soft } of pairs) {
    expect(soft).toHaveLength(usage!.calls > 1 ? 1 : 0);
    const sum = soft[0]?.probabilities.reduce((a, b) => a + b) ?? 1;
    expect(sum).toBeCloseTo(1, 6);
  }
});

test('what one gateway recorded another replays, samples as well, without a teacher and without cost', async () => {
  await stage.stopGateways();
  const folder = join(stage.path, 'recorded');
  await stage.gateway({ TEACHER_RECORD_TO: folder });
  const task = await stage.apply({ name: 'recorded', teacher: { ...teacher, pricing } });
  const [text] = texts(1, 'recorded') as [string];
  scripts.set(text, ['access', 'billing', 'access', 'access'].map(say));
  await stage.submit(task, 'run-record', [text]);
  await stage.outcomes('run-record', 1);
  await stage.stopGateways();

  // Another name, so that the pair store knows no answer yet.
  const again = await stage.apply({ name: 'replayed', teacher: { ...teacher, pricing } });
  await stage.gateway({ TEACHER_REPLAY_FROM: folder });
  asked = [];
  await stage.submit(again, 'run-replay', [text, 'never recorded']);
  await stage.outcomes('run-replay', 2);
  const [first] = stage.answeredIn('run-record');
  const [second] = stage.answeredIn('run-replay');
  expect(second!.pair).toMatchObject({ answerJson: '{"team":"access"}', soft: first!.pair!.soft });
  expect([first!, second!].map(({ pair }) => pair!.usage!.spentMicroUsd > 0n)).toEqual([true, false]);
  expect(stage.declinedIn('run-replay')).toMatchObject([{ detail: expect.stringContaining('TEACHER_RECORD_TO') }]);
  expect(asked).toEqual([]);
});

test('samples of several fields are counted by what each decides', () => {
  const heads = [
    { kind: 'choice' as const, name: 'c', values: ['true', 'false'] },
    { kind: 'tags' as const, name: 't', labels: ['"x"', '"y"'], minItems: 0, maxItems: 2 },
    {
      ...{ kind: 'number' as const, name: 'n', minimum: 0, maximum: 1, integer: false, tolerance: 0.5 },
      ...{ absent: 'null' as const, bins: [0, 0.5, 1] },
    },
    { kind: 'span' as const, name: 's', many: false, absent: '' as const, maxItems: 1 },
  ];
  const encode = (answer: string) => {
    const [index, indices, value] = JSON.parse(answer) as [number, number[], number | null];
    const values = [
      { kind: 'choice' as const, index },
      { kind: 'tags' as const, indices },
      { kind: 'number' as const, value: value ?? undefined },
      { kind: 'span' as const, spans: [] },
    ];
    return { ok: true as const, values };
  };
  const soft = softFromSamples(['[0,[0,1],0.4]', '[0,[1],null]', '[1,[],0.9]', '[0,[1],1]'], { heads, encode }, '');
  expect(soft).toEqual({ c: [0.75, 0.25], t: [0.25, 0.75], n: [0, 0.25, 0.5, 0.25] });
});
