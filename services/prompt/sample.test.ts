import { compileTask } from '@understudy/task';
import { testTask } from '@understudy/task/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_BAD_RECORDS } from './limits.ts';
import { drawSample } from './sample.ts';
import type { OpenSource } from './sources/read.ts';
import type { SourceRecord } from './sources/source.ts';

const compiled = compileTask(
  testTask({
    prompt: { instructions: 'x', template: '{{text}}', maxCharacters: 50 },
    examples: [{ input: { text: 'example' }, output: { label: 'ham' } }],
  }),
);

async function* stream<T>(items: Iterable<T>) {
  yield* items;
}
const sourceOf = (records: Iterable<SourceRecord>, change: Partial<OpenSource> = {}): OpenSource => ({
  name: 'jsonl in',
  origin: 'in.jsonl',
  ...{ trainsOnly: false, relevantOnly: false, tolerant: false, possible: 0n },
  records: stream(records),
  ...change,
});
const texts = (values: Iterable<unknown>): SourceRecord[] =>
  [...values].map((text, index) => ({ position: `in:${index + 1}`, input: { text } }));
const draw = (records: Iterable<SourceRecord>, size: number) => drawSample(compiled, stream([sourceOf(records)]), size);

describe('a sample', () => {
  test('depends on the population alone, counts each input, and contains every smaller sample as its beginning', async () => {
    const population = fc.array(
      fc.integer({ min: 0, max: 40 }).map((n) => `t${n}`),
      { minLength: 1, maxLength: 200 },
    );
    await fc.assert(
      fc.asyncProperty(population, fc.integer({ min: 1, max: 50 }), fc.integer(), async (values, size, seed) => {
        const all = await draw(texts(values), 1_000);
        const distinct = new Set(values).size;
        expect(all.prompts).toHaveLength(distinct);
        expect(all).toMatchObject({ population: distinct, duplicates: values.length - distinct, badRecords: 0 });
        const some = await draw(texts(values.toSorted((a, b) => hashOf(a, seed) - hashOf(b, seed))), size);
        expect(some.prompts).toEqual(all.prompts.slice(0, size));
        for (const { inputJson, weight } of some.prompts) {
          expect(weight).toBe(values.filter((value) => JSON.stringify({ text: value }) === inputJson).length);
        }
      }),
    );
  });

  test('leaves out what was forgotten, and counts it', async () => {
    const forgotten = new Set([compiled.promptId({ text: 'b' })]);
    const sources = stream([sourceOf(texts(['a', 'b', 'b', 'c']))]);
    const { prompts, ...figures } = await drawSample(compiled, sources, 10, forgotten);
    expect(prompts.map(({ inputJson }) => JSON.parse(inputJson).text).toSorted()).toEqual(['a', 'c']);
    expect(figures).toMatchObject({ population: 2, badRecords: 0, sources: [{ records: 4, forgotten: 2 }] });
    const alone = drawSample(compiled, stream([sourceOf(texts(['b']))]), 10, forgotten);
    await expect(alone).rejects.toThrow(/1 were forgotten/);
  });

  test('is spread evenly over the population', async () => {
    const numbers = Array.from({ length: 20_000 }, (_, index) => index);
    const { prompts } = await draw(texts(numbers.map(String)), 2_000);
    const inFirstHalf = prompts.filter(({ inputJson }) => Number(JSON.parse(inputJson).text) < 10_000).length;
    // Binomial(2000, 1/2) leaves 1000 ± 112 once in two million samples; this one is fixed.
    expect(Math.abs(inFirstHalf - 1_000)).toBeLessThan(112);
  });

  test('of a population too large to hold estimates its size to about 1/√k', async () => {
    const { prompts, population, duplicates } = await draw(
      texts(Array.from({ length: 60_000 }, (_, i) => `n${i % 50_000}`)),
      2_500,
    );
    expect(prompts).toHaveLength(2_500);
    expect(Math.abs(population - 50_000)).toBeLessThan(50_000 * (3 / Math.sqrt(2_500)));
    expect(population + duplicates).toBe(60_000);
  });

  test('leaves out the examples of the prompt, in any spelling', async () => {
    const { prompts } = await draw(texts([' example\n', 'other']), 10);
    expect(prompts.map(({ inputJson }) => inputJson)).toEqual(['{"text":"other"}']);
    await expect(draw(texts(['example']), 10)).rejects.toThrow(/got none: all are examples of the task/);
  });

  test('takes references as labels or whole outputs, and none where there is none', async () => {
    const { prompts } = await draw(
      [
        { position: 'a', input: { text: '1' }, reference: 'spam' },
        { position: 'b', input: { text: '2' }, reference: { label: 'ham' } },
        { position: 'c', input: { text: '3' }, reference: null },
        { position: 'd', input: { text: '4' } },
      ],
      10,
    );
    const found = Object.fromEntries(prompts.map(({ inputJson, referenceJson }) => [inputJson, referenceJson]));
    expect(found).toEqual({
      '{"text":"1"}': '{"label":"spam"}',
      '{"text":"2"}': '{"label":"ham"}',
      '{"text":"3"}': undefined,
      '{"text":"4"}': undefined,
    });
  });
});

describe('bad records', () => {
  test('are counted and shown with their places, and the others are taken', async () => {
    const { prompts, badRecords, badRecordDetails } = await draw(
      [
        { position: 'in:1', fault: 'expected a JSON object, got x' },
        { position: 'in:2', input: {} },
        { position: 'in:3', input: { text: 7 } },
        { position: 'in:4', input: { text: ' \n' } },
        { position: 'in:5', input: { text: 'x'.repeat(300_000) } },
        { position: 'in:6', input: { text: 'a' }, reference: 'eggs' },
        { position: 'in:7', input: { text: 'good' } },
      ],
      10,
    );
    expect(prompts).toHaveLength(1);
    expect(badRecords).toBe(6);
    expect(badRecordDetails).toEqual([
      'in:1: expected a JSON object, got x',
      'in:2: field text is missing; add it as a string',
      'in:3: field text: expected a string, got a number; convert it',
      'in:4: expected something to ask, got empty fields',
      expect.stringMatching(/^in:5: prompt over the size limit/),
      'in:6: expected a reference of ham, spam (map it under reference.map), got "eggs"',
    ]);
  });

  test('end the run beyond a limit, and when nothing else is there', async () => {
    const bad = Array.from({ length: MAX_BAD_RECORDS }, (_, i) => ({ position: `in:${i}`, fault: 'broken' }));
    const good = texts(['good']);
    expect((await draw([...bad, ...good], 10)).badRecordDetails).toHaveLength(10);
    await expect(draw([...bad, ...bad.slice(0, 1), ...good], 10)).rejects.toThrow(
      /expected at most 1000 bad records, got more; the first: in:0: broken/,
    );
    await expect(draw(bad, 10)).rejects.toThrow(/got none: 1000 are bad, the first: in:0: broken/);
  });
});

/** An arbitrary but fixed order for a seed. */
function hashOf(text: string, seed: number): number {
  return [...text].reduce((sum, character) => Math.imul(sum ^ (character.codePointAt(0) ?? 0), 0x9e3779b1) | 0, seed);
}

describe('sources that are no sample of the population', () => {
  const pairOf = (text: string, answerJson = '{"label":"ham"}') => {
    const { promptId, inputJson, text: rendered } = compiled.renderPrompt({ text });
    const answered = { answeredAtMs: 1, inputTokens: 1, outputTokens: 1, model: 'm', fingerprint: 'f'.repeat(64) };
    return {
      position: `log:${text}`,
      input: { text },
      pair: { promptId, inputJson, text: rendered, answerJson, ...answered },
    };
  };

  test('are taken beside it: an input that comes in both is a sample, one whose answer is known is not asked', async () => {
    const sources = [
      sourceOf(texts(['a', 'b', 'c', 'a'])),
      sourceOf(texts(['b', 'd', 'e']), { name: 'grammar', origin: 'grammar', trainsOnly: true, possible: 9n }),
      sourceOf(
        [
          pairOf('c'),
          pairOf('f'),
          pairOf('f', '{"label":"spam"}'),
          { position: 'log:9', fault: 'x', reason: 'other-prompt' },
        ],
        {
          name: 'log /b',
          origin: 'b',
          trainsOnly: true,
          tolerant: true,
        },
      ),
    ];
    const { prompts, pairs, ...figures } = await drawSample(compiled, stream(sources), 10);
    const shown = prompts.map(({ inputJson, trainsOnly, origin, pair }) => [
      JSON.parse(inputJson).text,
      trainsOnly ?? false,
      origin,
      pair?.answerJson,
    ]);
    expect(pairs).toBe(2);
    expect(shown.slice(0, 2).sort()).toEqual([
      ['c', true, 'b', '{"label":"ham"}'],
      ['f', true, 'b', '{"label":"ham"}'],
    ]);
    expect(shown.slice(2).sort()).toEqual([
      ['a', false, 'in.jsonl', undefined],
      ['b', false, 'in.jsonl', undefined],
      ['d', true, 'grammar', undefined],
      ['e', true, 'grammar', undefined],
    ]);
    expect(figures.sources).toMatchObject([
      { source: 'jsonl in', records: 4, trainsOnly: false },
      { source: 'grammar', records: 3, trainsOnly: true, possible: 9n },
      { source: 'log /b', records: 4, badRecords: 1, pairs: 3, faults: { 'other-prompt': 1 } },
    ]);
  });

  test('leave any part of what is asked a random sample: both kinds are mixed by rank', async () => {
    const population = texts(Array.from({ length: 2_000 }, (_, i) => `p${i}`));
    const others = sourceOf(texts(Array.from({ length: 1_000 }, (_, i) => `o${i}`)), { trainsOnly: true });
    const { prompts } = await drawSample(compiled, stream([sourceOf(population), others]), 900);
    expect(prompts).toHaveLength(900);
    const share = prompts.filter(({ trainsOnly }) => trainsOnly).length / 900;
    expect(share).toBeGreaterThan(0.27);
    expect(share).toBeLessThan(0.4);
  });

  test('a log may hold any number of calls that are not the task’s, a file may not', async () => {
    const foreign = Array.from({ length: MAX_BAD_RECORDS + 50 }, (_, i) => ({
      position: `log:${i}`,
      fault: 'x',
      reason: 'other-prompt',
    }));
    const log = (tolerant: boolean) =>
      drawSample(compiled, stream([sourceOf([...foreign, ...texts(['a'])], { tolerant })]), 10);
    expect(await log(true)).toMatchObject({ badRecords: MAX_BAD_RECORDS + 50, population: 1 });
    await expect(log(false)).rejects.toThrow(/expected at most 1000 bad records/);
  });
});
