import type { Head } from '@understudy/task/output/head';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { scalarSpans } from './json-spans.ts';
import { softFromLogprobs, type TokenLogprob } from './logprobs.ts';

const choice = (name: string, values: unknown[]): Head => ({
  kind: 'choice',
  name,
  values: values.map((value) => JSON.stringify(value)),
});

/** A token with what could have stood in its place. */
const token = (text: string, probability: number, others: Record<string, number> = {}): TokenLogprob => ({
  token: text,
  logprob: Math.log(probability),
  top_logprobs: Object.entries({ [text]: probability, ...others }).map(([other, each]) => ({
    token: other,
    logprob: Math.log(each),
  })),
});
const textOf = (tokens: readonly TokenLogprob[]) => tokens.map((each) => each.token).join('');
const soft = (tokens: TokenLogprob[], ...heads: Head[]) => softFromLogprobs(textOf(tokens), tokens, heads);
const about = (...values: number[]) => values.map((value) => expect.closeTo(value, 9));

describe('probabilities of labels', () => {
  test('are those of the tokens in which they begin', () => {
    const tokens = [token('{"a":"', 1), token('spam', 0.7, { ham: 0.3 }), token('"}', 1)];
    expect(soft(tokens, choice('a', ['ham', 'spam']))).toEqual({ a: about(0.3, 0.7) });
  });

  test('that begin alike are told apart where they part', () => {
    // bank 0.6: ends 0.25, _transfer 0.75 of it; ban_k 0.1; cash 0.3.
    const tokens = [
      token('{"a": "', 1),
      token('ban', 0.7, { cash: 0.3 }),
      token('k', 6 / 7, { _k: 1 / 7 }),
      token('_transfer"', 0.75, { '"}': 0.25 }),
      token('}', 1),
    ];
    const labels = ['cash', 'bank', 'bank_transfer', 'ban_k'];
    expect(soft(tokens, choice('a', labels))).toEqual({ a: about(0.3, 0.15, 0.45, 0.1) });
  });

  test('are seen through tokens that reach over the quotes', () => {
    const tokens = [token('{"a', 1), token('":"sp', 0.6, { '":"ha': 0.4 }), token('am"}', 1)];
    expect(soft(tokens, choice('a', ['ham', 'spam']))).toEqual({ a: about(0.4, 0.6) });
  });

  test('leave out what is no answer', () => {
    const tokens = [token('{"a":"', 1), token('spam', 0.4, { ham: 0.1, Spam: 0.5 }), token('"}', 1)];
    expect(soft(tokens, choice('a', ['ham', 'spam']))).toEqual({ a: about(0.2, 0.8) });
  });

  test('of values that are no strings, and of each field after those before it', () => {
    const tokens = [
      token('{"u":', 1),
      token('true', 0.8, { false: 0.2 }),
      token(',"n":{"k":', 1),
      token('3', 0.5, { null: 0.25, '30': 0.25 }),
      token('}}', 1),
    ];
    const heads = [choice('u', [false, true]), choice('n.k', [3, 30, null])];
    expect(soft(tokens, ...heads)).toEqual({ u: about(0.2, 0.8), 'n.k': about(0.5, 0.25, 0.25) });
  });

  test('of characters that are several tokens each', () => {
    const bytes = [...Buffer.from('é')];
    const tokens = [
      token('{"a":"', 1),
      { ...token('\\xc3', 1), bytes: bytes.slice(0, 1) },
      {
        ...{ token: '\\xa9', bytes: bytes.slice(1), logprob: Math.log(0.9) },
        top_logprobs: [{ token: '\\xa8', bytes: [...Buffer.from('è')].slice(1), logprob: Math.log(0.1) }],
      },
      token('"}', 1),
    ];
    expect(softFromLogprobs('{"a":"é"}', tokens, [choice('a', ['è', 'é'])])).toEqual({ a: about(0.1, 0.9) });
  });
});

describe('there are none', () => {
  const labels = choice('a', ['ham', 'hat', 'spam']);
  test('where a token that was not taken begins several labels', () => {
    expect(soft([token('{"a":"', 1), token('spam', 0.7, { ha: 0.3 }), token('"}', 1)], labels)).toEqual({});
  });
  test('where too much is below what is listed', () => {
    expect(soft([token('{"a":"', 1), token('spam', 0.7, { ham: 0.2 }), token('"}', 1)], labels)).toEqual({});
  });
  test('where the tokens are not those of the answer', () => {
    expect(softFromLogprobs('{"a":"spam"}', [token('{"a": "spam"}', 1)], [labels])).toEqual({});
    expect(softFromLogprobs('{"a":"spam"', [token('{"a":"spam"', 1)], [labels])).toEqual({});
    expect(softFromLogprobs('', [], [labels])).toEqual({});
  });
  test('for a field that is not in the answer, or not a plain choice', () => {
    const head = choice('b', ['x', 'y']);
    expect(soft([token('{"a":"spam"}', 1)], head)).toEqual({});
    const left: Head = { kind: 'choice', name: 'a', values: ['', '"spam"'] };
    expect(soft([token('{"a":"spam"}', 1)], left)).toEqual({});
  });
});

test('any labels, cut into tokens anyhow: the distribution of the model, or nothing', () => {
  const label = fc.stringMatching(/^[ab]{1,4}$/);
  const cases = fc.record({
    labels: fc.uniqueArray(fc.tuple(label, fc.integer({ min: 1, max: 100 })), {
      minLength: 2,
      maxLength: 6,
      selector: ([name]) => name,
    }),
    piece: fc.integer({ min: 1, max: 3 }),
    chosen: fc.nat(),
  });
  let given = 0;
  fc.assert(
    fc.property(cases, ({ labels, piece, chosen }) => {
      const total = labels.reduce((sum, [, weight]) => sum + weight, 0);
      const cut = (text: string) => text.match(new RegExp(`.{1,${piece}}`, 'g')) ?? [];
      const paths = labels.map(([name, weight]) => ({ pieces: cut(`${name}"}`), weight }));
      const { pieces } = paths[chosen % paths.length]!;
      const tokens = [token('{"a":"', 1)];
      let reaching = paths;
      for (const [depth, text] of pieces.entries()) {
        const weights: Record<string, number> = {};
        for (const path of reaching) weights[path.pieces[depth]!] = (weights[path.pieces[depth]!] ?? 0) + path.weight;
        const sum = Object.values(weights).reduce((a, b) => a + b);
        tokens.push(
          token(text, weights[text]! / sum, Object.fromEntries(Object.entries(weights).map(([k, w]) => [k, w / sum]))),
        );
        reaching = reaching.filter((path) => path.pieces[depth] === text);
      }
      const { a } = soft(
        tokens,
        choice(
          'a',
          labels.map(([name]) => name),
        ),
      );
      if (!a) return;
      given += 1;
      for (const [index, [, weight]] of labels.entries()) expect(a[index]).toBeCloseTo(weight / total, 1.5);
    }),
    { seed: 7, numRuns: 300 },
  );
  expect(given).toBeGreaterThan(100);
});

test('scalars are found by their paths, whatever the spaces and the strings look like', () => {
  const text = ' {"a" : "x\\"}{,:", "b":{"c":-1.5e3,"d":[1,{"a":"no"}],"e":null} , "f" :true}';
  const found = [...scalarSpans(text)].map(([path, { start, end }]) => [path, text.slice(start, end)]);
  expect(found).toEqual([
    ['a', '"x\\"}{,:"'],
    ['b.c', '-1.5e3'],
    ['b.e', 'null'],
    ['f', 'true'],
  ]);
});
