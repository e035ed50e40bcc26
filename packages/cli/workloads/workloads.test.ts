import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { WorkloadPairSchema, WorkloadSchema } from '@understudy/contract/pair-store';
import {
  compileTask,
  insideFrame,
  isAuditable,
  parseTask,
  readLogged,
  templateFrame,
  workloadId,
} from '@understudy/task';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { draftOf, logLines } from './draft.ts';
import { templateOf } from './frame.ts';
import { verdictOf } from './verdict.ts';

const schema = {
  type: 'object',
  properties: { team: { enum: ['billing', 'shipping'] } },
  required: ['team'],
  additionalProperties: false,
};
const system = 'Which team handles this message?';
const workloadOf = (change: MessageInitShape<typeof WorkloadSchema> = {}) =>
  create(WorkloadSchema, {
    ...{ workloadId: workloadId(system, schema), system, schemaJson: JSON.stringify(schema) },
    ...{ upstream: 'https://models.example/v1', model: 'large', calls: 2_000n, keptPairs: 1_500, distinctOutputs: 2n },
    ...{ inputPrice: 2, outputPrice: 8, spentMicroUsd: 4_000_000n },
    ...change,
  } as MessageInitShape<typeof WorkloadSchema>);
const messages = Array.from(
  { length: 40 },
  (_, index) => `Message: my ${index % 2 ? 'parcel' : 'invoice'} ${index}\n-- end`,
);
const pairs = messages.map((input, index) =>
  create(WorkloadPairSchema, {
    ...{ input, output: `{"team":"${index % 2 ? 'shipping' : 'billing'}"}`, model: 'large-1', times: (index % 3) + 1 },
    ...{ inputTokens: 20n, outputTokens: 5n, at: { seconds: 1_800_000_000n, nanos: 0 } },
  }),
);

describe('a template', () => {
  test('has what all messages share around its field, and splits no word', () => {
    expect(templateOf(messages)).toBe('Message: my {{text}}\n-- end');
    const numbered = Array.from({ length: 30 }, (_, index) => `Subject${index} is unsorted${index}ly`);
    expect(templateOf(numbered)).toBe('{{text}}');
    expect(templateOf(messages.slice(0, 5))).toBe('{{text}}');
    expect(templateOf(messages.map((message) => `{{x}} ${message}`))).toBe('{{text}}');
    expect(templateOf([])).toBe('{{text}}');
    const repeating = Array.from({ length: 30 }, (_, index) => 'ab '.repeat(index + 2));
    expect(templateFrame(templateOf(repeating))).toBeDefined();
  });

  test('gives every message back, whatever they share', () => {
    const texts = fc.array(fc.string(), { minLength: 20, maxLength: 40 });
    fc.assert(
      fc.property(texts, fc.string(), fc.string(), (inner, before, after) => {
        const all = inner.map((text) => before + text + after);
        const frame = templateFrame(templateOf(all));
        for (const message of all) expect(frame && insideFrame(frame, message)).toBeDefined();
      }),
    );
  });
});

describe('a draft', () => {
  test('is a valid task, and its log holds its pairs, each as often as it was asked', () => {
    const workload = workloadOf();
    const draft = draftOf(workload, pairs, { name: 'routing', logPath: '/logs/routing.jsonl', apiKeyEnv: 'SOME_KEY' });
    const task = parseTask(JSON.stringify(draft));
    expect(task).toMatchObject({
      prompt: { instructions: system, template: 'Message: my {{text}}\n-- end' },
      teacher: { baseUrl: 'https://models.example/v1', model: 'large', apiKeyEnv: 'SOME_KEY' },
      budget: { calls: 1_000, usd: 2 },
      live: { usdPerDay: 0, audit: { callsPerDay: 1_000, usdPerDay: 2 } },
      matchCalls: [workload.workloadId],
    });
    // A student of it is watched, whether the calls have a price or not.
    expect(isAuditable(task)).toBe(true);
    const free = workloadOf({ inputPrice: 0, outputPrice: 0, spentMicroUsd: 0n });
    const unpriced = draftOf(free, pairs, { name: 'free', logPath: '/logs/free.jsonl', apiKeyEnv: undefined });
    expect(isAuditable(parseTask(JSON.stringify(unpriced)))).toBe(true);
    const lines = [...logLines(workload, pairs)].map((line) => JSON.parse(line));
    expect(lines).toHaveLength(pairs.reduce((sum, { times }) => sum + times, 0));
    const compiled = compileTask(task);
    const read = lines.map((line) => readLogged(compiled, line));
    expect(read.filter(({ ok }) => !ok)).toEqual([]);
    expect(read[0]).toMatchObject({
      ok: true,
      pair: { inputJson: '{"text":"invoice 0"}', text: messages[0], answerJson: '{"team":"billing"}', inputTokens: 20 },
    });
  });
});

describe('a verdict', () => {
  test('says what a student could save', () => {
    expect(verdictOf(workloadOf())).toEqual({ distillable: true, reasons: [], savesMicroUsd: 3_200_000n });
  });

  test.each<[string, MessageInitShape<typeof WorkloadSchema>, RegExp]>([
    ['no prompt', { system: '' }, /no system prompt/],
    ['an unknown prompt', { system: undefined, schemaJson: undefined }, /not known yet/],
    ['no schema', { schemaJson: '' }, /no JSON Schema/],
    ['free text', { schemaJson: JSON.stringify({ ...schema, properties: { team: { type: 'string' } } }) }, /team/],
    ['a schema that is none', { schemaJson: '"x"' }, /expected/],
    ['conversations', { obstructed: 1_500n, obstacle: 'conversation' }, /1500 of 2000 calls are conversations/],
    ['one answer', { distinctOutputs: 1n }, /always the same/],
  ])('names what is in the way: %s', (_what, change, reason) => {
    const verdict = verdictOf(workloadOf(change));
    expect(verdict).toMatchObject({ distillable: false, savesMicroUsd: 0n });
    expect(verdict.reasons.join('\n')).toMatch(reason);
  });

  test('warns where there is little to go by', () => {
    const { distillable, reasons } = verdictOf(workloadOf({ keptPairs: 10, unmetered: 3n, unpriced: 7n }));
    expect(distillable).toBe(true);
    expect(reasons.join('\n')).toMatch(/10 pairs.*\n3 calls told no usage.*\nno price for 7 calls/);
  });
});
