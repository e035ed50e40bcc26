import type { NumberHead, TagsHead } from '@understudy/task/output/head';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { agrees } from './agreement.ts';
import { readHead } from './read.ts';
import { denseTarget } from './targets.ts';

const number = (change: Partial<NumberHead> = {}): NumberHead => ({
  kind: 'number',
  name: 'n',
  minimum: 0,
  maximum: 10,
  integer: false,
  tolerance: 1,
  absent: undefined,
  bins: Array.from({ length: 11 }, (_, i) => i),
  ...change,
});
const tags = (change: Partial<TagsHead> = {}): TagsHead => ({
  kind: 'tags',
  name: 'n',
  labels: ['"a"', '"b"', '"c"'],
  minItems: 0,
  maxItems: 3,
  ...change,
});

const read = (head: NumberHead | TagsHead, logits: readonly number[]) =>
  readHead(head, { logits: { n: Float32Array.from(logits) } }, 1, '');

describe('a number', () => {
  it('that is learned without a fault is read as one that agrees', () => {
    const cases = fc.tuple(fc.double({ min: 0, max: 10, noNaN: true }), fc.constantFrom(0, 1, 2.5));
    fc.assert(
      fc.property(cases, ([drawn, tolerance]) => {
        const value = tolerance === 0 ? Math.round(drawn) : drawn;
        const head = number({ tolerance });
        const target = denseTarget(head, { value: { kind: 'number', value } });
        expect(target.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
        const reading = read(
          head,
          target.map((share) => Math.log(share + 1e-12)),
        );
        expect(agrees(head, reading.value, { kind: 'number', value }, '')).toBe(true);
        expect(reading.confidence).toBeGreaterThan(0.6);
        expect(reading.confidence).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('is where most lies within the tolerance, not where one bin is highest', () => {
    const shares = [0.3, 0, 0, 0, 0.2, 0.25, 0.25, 0, 0, 0, 0];
    const { value, confidence } = read(
      number(),
      shares.map((share) => Math.log(share + 1e-9)),
    );
    expect(value).toEqual({ kind: 'number', value: 5 });
    expect(confidence).toBeCloseTo(0.7, 4);
  });

  it('can be absent', () => {
    const head = number({ absent: 'null' });
    const target = denseTarget(head, { value: { kind: 'number', value: undefined } });
    const { value, confidence } = read(
      head,
      target.map((share) => 9 * share),
    );
    expect(value).toEqual({ kind: 'number', value: undefined });
    expect(confidence).toBeGreaterThan(0.99);
    expect(agrees(head, value, { kind: 'number', value: 0 }, '')).toBe(false);
  });
});

describe('a set', () => {
  it('is of the labels that are likelier in than out', () => {
    const { value, confidence } = read(tags(), [2, -2, 0.5]);
    expect(value).toEqual({ kind: 'tags', indices: [0, 2] });
    const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
    expect(confidence).toBeCloseTo(sigmoid(2) * sigmoid(2) * sigmoid(0.5), 6);
  });

  it('has no fewer and no more labels than are allowed, the likeliest ones', () => {
    expect(read(tags({ minItems: 2 }), [-3, -1, -2]).value).toEqual({ kind: 'tags', indices: [1, 2] });
    expect(read(tags({ maxItems: 1 }), [1, 3, 2]).value).toEqual({ kind: 'tags', indices: [1] });
    expect(read(tags(), [-1, -1, -1]).value).toEqual({ kind: 'tags', indices: [] });
  });
});
