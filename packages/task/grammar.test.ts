import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  derivations,
  distinctInputs,
  drawInputs,
  type Grammar,
  grammarFaults,
  MAX_LISTED_DERIVATIONS,
} from './grammar.ts';

const grammarOf = (templates: string[], lexicons: Grammar['lexicons'], seed = 1): Grammar => ({
  templates: templates.map((text) => ({ fields: { text }, weight: 1 })),
  lexicons,
  seed,
});
const textsOf = (grammar: Grammar, limit: number) => [...drawInputs(grammar, limit)].map(({ text }) => text);

describe('a grammar', () => {
  it('fills every way once, nested lexicons included', () => {
    const grammar = grammarOf(['{{hi}}, {{day}}', 'just {{day}}'], {
      hi: ['hello', 'good {{day}}'],
      day: ['morning', 'night'],
    });
    expect(derivations(grammar)).toBe(3n * 2n + 2n);
    expect(textsOf(grammar, 100).sort()).toEqual(
      [
        ...['hello', 'good morning', 'good night'].flatMap((hi) => [`${hi}, morning`, `${hi}, night`]),
        ...['just morning', 'just night'],
      ].sort(),
    );
  });

  it('gives a slot one value in all fields of a template, and slots of other names their own', () => {
    const cities = ['Rome', 'Oslo', 'Lima'];
    const grammar: Grammar = {
      templates: [{ fields: { title: 'to {{to:city}}', text: '{{from:city}} to {{to:city}}' }, weight: 1 }],
      lexicons: { city: cities },
      seed: 3,
    };
    expect(distinctInputs(grammar)).toEqual({ inputs: 9n, exact: true });
    for (const { title, text } of drawInputs(grammar, 9)) expect(text).toContain(title);
  });

  it('counts texts that can be made in two ways once', () => {
    const grammar = grammarOf(['{{a}}{{b}}'], { a: ['x', 'xx'], b: ['xx', 'x'] });
    expect(derivations(grammar)).toBe(4n);
    expect(distinctInputs(grammar)).toEqual({ inputs: 3n, exact: true });
    expect(textsOf(grammar, 10).sort()).toEqual(['xx', 'xxx', 'xxxx']);
  });

  it('is the same for the same seed, another for another, and never repeats itself, whatever its size', () => {
    const words = (n: number) => Array.from({ length: n }, (_, i) => `w${i}`);
    const property = (size: number, limit: number, seed: number) => {
      const grammar = grammarOf(['{{a:w}} {{b:w}} {{c:w}}'], { w: words(size) }, seed);
      const texts = textsOf(grammar, limit);
      expect(texts).toEqual(textsOf(grammar, limit));
      expect(new Set(texts).size).toBe(Math.min(limit, size ** 3));
      if (size > 5) expect(textsOf({ ...grammar, seed: seed + 1 }, limit)).not.toEqual(texts);
    };
    fc.assert(fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 5, max: 40 }), fc.nat(1000), property), {
      numRuns: 30,
    });
    expect(200n ** 3n).toBeGreaterThan(BigInt(MAX_LISTED_DERIVATIONS));
    property(200, 500, 7);
  });

  it.each([2, 80])('draws by weight, of %s words a slot', (size) => {
    const rare = Array.from({ length: size - 1 }, (_, i) => `r${i}`);
    let often = 0;
    const draws = 400;
    for (let seed = 0; seed < draws; seed += 1) {
      const grammar = grammarOf(
        ['{{a:w}} {{b:w}} {{c:w}}'],
        { w: [{ text: 'often', weight: 3 * (size - 1) }, ...rare] },
        seed,
      );
      if (textsOf(grammar, 1)[0]?.startsWith('often')) often += 1;
    }
    expect(often / draws).toBeGreaterThan(0.68);
    expect(often / draws).toBeLessThan(0.82);
  });

  it.each([
    [grammarOf(['{{a}}'], { a: ['x {{b}}'], b: ['{{a}}', 'y'] }), /circle: a → b → a/],
    [grammarOf(['{{a}}'], { a: ['{{a}}x'] }), /circle: a → a/],
    [grammarOf(['{{a}} {{nope}}'], { a: ['x'] }), /expected a lexicon named nope/],
    [grammarOf(['{{s:a}} {{s:b}}'], { a: ['x'], b: ['y'] }), /slot s is filled from two lexicons/],
    [grammarOf(['{{a}}'], { a: ['x', { text: 'x', weight: 2 }] }), /the same entry stands there before/],
    [
      { ...grammarOf([], {}), templates: [{ fields: { body: 'x' }, weight: 1 }] },
      /exactly the fields of the input \(text\), got body/,
    ],
  ])('with a fault is told: %#', (grammar, message) => {
    expect(
      grammarFaults(grammar, ['text'])
        .map((fault) => fault.message)
        .join(),
    ).toMatch(message);
  });

  it('with lexicons that multiply beyond all bounds is refused, and one just as deep is drawn from', () => {
    const nested = (depth: number) =>
      grammarOf(
        ['{{l0}}'],
        Object.fromEntries(
          Array.from({ length: depth + 1 }, (_, i) => [
            `l${i}`,
            i === depth ? ['a', 'b'] : [`{{x:l${i + 1}}}{{y:l${i + 1}}}`],
          ]),
        ),
      );
    expect(grammarFaults(nested(60), ['text'])[0]?.message).toMatch(
      /at most 1000 slots to fill for one input, got 230/,
    );
    expect(grammarFaults(nested(8), ['text'])).toEqual([]);
    expect(derivations(nested(8))).toBe(2n ** 256n);
    expect(textsOf(nested(8), 3)).toHaveLength(3);
  });
});
