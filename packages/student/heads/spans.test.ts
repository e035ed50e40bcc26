import type { Head } from '@understudy/task/output/head';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byteOffsets } from '../offsets.ts';
import { agrees } from './agreement.ts';
import { BEGIN, INSIDE, OUTSIDE, TAGS } from './layout.ts';
import { type Reading, readHead } from './read.ts';
import { likeliestSegments, tagsOf, trimmed } from './spans.ts';

/** Every way to tag tokens, with segments counted; INSIDE needs one before it that is not OUTSIDE. */
function* taggings(count: number): Generator<number[]> {
  if (count === 0) return yield [];
  for (const tags of taggings(count - 1)) {
    for (const tag of [OUTSIDE, BEGIN, INSIDE]) {
      if (tag === INSIDE && (tags.length === 0 || tags.at(-1) === OUTSIDE)) continue;
      yield [...tags, tag];
    }
  }
}

describe('the likeliest segments', () => {
  it('are those of the best of all taggings that are allowed', () => {
    const logits = fc
      .integer({ min: 1, max: 6 })
      .chain((count) =>
        fc.array(fc.double({ min: -5, max: 0, noNaN: true }), { minLength: TAGS * count, maxLength: TAGS * count }),
      );
    fc.assert(
      fc.property(logits, fc.integer({ min: 0, max: 1 }), fc.integer({ min: 1, max: 3 }), (given, least, most) => {
        const logs = Float64Array.from(given);
        const tokens = Array.from({ length: logs.length / TAGS }, (_, token) => token);
        const gainOf = (tags: readonly number[]) =>
          tags.reduce((sum, tag, token) => sum + logs[TAGS * token + tag]! - logs[TAGS * token + OUTSIDE]!, 0);
        let best = Number.NEGATIVE_INFINITY;
        for (const tags of taggings(tokens.length)) {
          const segments = tags.filter((tag) => tag === BEGIN).length;
          if (segments >= least && segments <= most) best = Math.max(best, gainOf(tags));
        }
        const { gain, segments } = likeliestSegments(logs, tokens, least, most);
        expect(gain).toBeCloseTo(best, 9);
        expect(segments.length).toBeGreaterThanOrEqual(least);
        expect(segments.length).toBeLessThanOrEqual(most);
        for (const [i, { first, last }] of segments.entries()) {
          expect(first).toBeLessThanOrEqual(last);
          if (i > 0) expect(first).toBeGreaterThan(segments[i - 1]!.last);
        }
      }),
    );
  });

  it('of no token at all are none', () => {
    expect(likeliestSegments(new Float64Array(), [], 0, 3)).toEqual({ gain: 0, segments: [] });
  });
});

const span = (change: Partial<Extract<Head, { kind: 'span' }>> = {}): Head => ({
  kind: 'span',
  name: 'who',
  many: false,
  absent: '',
  maxItems: 1,
  ...change,
});

/** What a student says that is sure of some spans. */
function sure(text: string, spans: readonly (readonly [number, number])[], head: Head): Reading {
  const tokens = byteOffsets(text, 8_192);
  const logits = new Float32Array(TAGS * tokens.starts.length);
  for (const [token, tag] of tagsOf(spans, tokens).entries()) logits[TAGS * token + tag] = 20;
  return readHead(head, { logits: { who: logits }, tokens }, 1, text);
}

describe('spans', () => {
  it('come back from the tags of bytes as they were, in any text', () => {
    const cases = fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(cases, (words) => {
        const text = words.join(' ');
        let at = 0;
        const places = words.map((word) => {
          at += word.length + 1;
          return trimmed(text, [at - word.length - 1, at - 1]);
        });
        const spans = places.filter(([start, end], i) => start < end && i % 2 === 0);
        const head = span({ many: true, maxItems: 10 });
        const { value, confidence } = sure(text, spans, head);
        expect(value).toEqual({ kind: 'span', spans });
        expect(agrees(head, value, { kind: 'span', spans }, text)).toBe(true);
        expect(confidence).toBeGreaterThan(0.99);
      }),
    );
  });

  it('are as many as the head allows: one, none, or at least one where there always is one', () => {
    const text = 'Ada and Bob';
    const both = [
      [0, 3],
      [8, 11],
    ] as const;
    expect(sure(text, both, span()).value).toMatchObject({ spans: { length: 1 } });
    expect(sure(text, both, span()).confidence).toBeLessThan(0.01);
    expect(sure(text, [], span()).value).toEqual({ kind: 'span', spans: [] });
    expect(sure(text, [], span({ absent: undefined })).value).toMatchObject({ spans: { length: 1 } });
    expect(sure('', [], span({ absent: undefined })).value).toEqual({ kind: 'span', spans: [] });
  });

  it('are trimmed, and nothing where there is only white space', () => {
    expect(trimmed('  Ada ', [0, 6])).toEqual([2, 5]);
    expect(trimmed('    ', [1, 3])).toEqual([1, 1]);
    expect(sure('a   b', [[1, 4]], span()).value).toEqual({ kind: 'span', spans: [] });
  });

  it('agree by their texts, wherever these stand', () => {
    const at = (...spans: [number, number][]) => ({ kind: 'span', spans }) as const;
    expect(agrees(span(), at([0, 3]), at([4, 7]), 'Ada Ada')).toBe(true);
    expect(agrees(span(), at([0, 3]), at([4, 7]), 'Ada Bob')).toBe(false);
    expect(agrees(span(), at([0, 3]), at(), 'Ada Bob')).toBe(false);
  });
});
