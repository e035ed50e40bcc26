import { describe, expect, it } from 'vitest';
import { Neighbours } from './neighbours.ts';
import { testText } from './testing.ts';

const found = (neighbours: Neighbours, text: string) => {
  const numbers: number[] = [];
  neighbours.search(text, (number) => numbers.push(number));
  return numbers;
};

/** The text with its words from `from` on replaced. */
const withOtherEnd = (text: string, keptWords: number, end: string) =>
  [...text.split(' ').slice(0, keptWords), end].join(' ');

describe('near neighbours', () => {
  it('finds texts that share most of their characters, also after the arrays have grown', () => {
    const neighbours = new Neighbours();
    const count = 5_000;
    for (let n = 0; n < count; n++) {
      expect(found(neighbours, testText(n))).toEqual([]);
      expect(neighbours.add()).toBe(n);
    }
    expect(neighbours.size).toBe(count);
    let met = 0;
    for (let n = 0; n < count; n++) {
      const numbers = found(neighbours, withOtherEnd(testText(n), 15, 'tail'));
      if (numbers.includes(n)) met += 1;
      expect(numbers.filter((number) => number !== n)).toEqual([]);
    }
    expect(met / count).toBeGreaterThan(0.99);
  });

  it('does not take texts for neighbours that share half of their characters', () => {
    const neighbours = new Neighbours();
    let met = 0;
    for (let n = 0; n < 500; n++) {
      found(neighbours, testText(n));
      neighbours.add();
      met += found(neighbours, withOtherEnd(testText(n), 8, testText(n + 10_000).slice(0, 80))).length;
    }
    expect(met).toBe(0);
  });

  it('compares a text with a bounded number of others, also where a phrase is shared by all', () => {
    const phrase =
      'we are pleased to inform you that your order has been shipped and will arrive soon, thank you for buying';
    const neighbours = new Neighbours();
    const texts = 6_000;
    for (let n = 1; n < texts; n++) {
      found(neighbours, `${phrase} ${testText(n).slice(0, 12)}`);
      neighbours.add();
    }
    const met = found(neighbours, `${phrase} ${testText(texts).slice(0, 12)}`).length;
    // Nearly all are near-duplicates of nearly all; looked at are the newest 32 in each of 20 bands.
    expect(met).toBeGreaterThan(32);
    expect(met).toBeLessThanOrEqual(20 * 32);
  });
});
