import { Split } from '@understudy/contract';
import { sha256Hex } from '@understudy/task';
import { splitOf } from '@understudy/task/grouping/split';
import { testText } from '@understudy/task/grouping/testing';
import { describe, expect, it } from 'vitest';
import { GroupIndex, type NewPrompt } from './group-index.ts';

const RATIOS = { dev: 0.1, test: 0.2 };

const prompt = (text: string, change: Partial<NewPrompt> = {}): NewPrompt => ({
  promptId: sha256Hex(text),
  text,
  mayBeHeldOut: true,
  ...change,
});

/** The number of a text that starts a group in this split. */
function textIn(split: Split, after = 0): string {
  for (let n = after; ; n++) if (splitOf('t', sha256Hex(testText(n)), RATIOS) === split) return testText(n);
}

/** Alike to both: the first half of one, the second of the other, so that each shares enough with it. */
const nearly = (text: string) => `${text} ps`;

describe('a new prompt', () => {
  it('starts a group of its own, in a split that depends on task and group alone', () => {
    const index = new GroupIndex('t');
    for (let n = 0; n < 50; n++) {
      const promptId = sha256Hex(testText(n));
      expect(index.place(prompt(testText(n)), RATIOS)).toEqual({
        groupId: promptId,
        split: splitOf('t', promptId, RATIOS),
      });
    }
  });

  it.each([Split.TRAIN, Split.DEV, Split.TEST])('joins the group and split %i of a near-duplicate', (split) => {
    const index = new GroupIndex('t');
    const first = index.place(prompt(textIn(split)), RATIOS);
    expect(first.split).toBe(split);
    expect(index.place(prompt(nearly(textIn(split))), RATIOS)).toEqual(first);
    expect(index.place(prompt(textIn(split).toUpperCase()), RATIOS)).toEqual(first);
  });

  it('trains, whatever its hash says, when it is no random sample', () => {
    const index = new GroupIndex('t');
    const { split } = index.place(prompt(textIn(Split.TEST), { mayBeHeldOut: false }), RATIOS);
    expect(split).toBe(Split.TRAIN);
  });

  it('is quarantined when it is no random sample and close to a held-out group', () => {
    const index = new GroupIndex('t');
    index.place(prompt(textIn(Split.TEST)), RATIOS);
    const { split, groupId } = index.place(prompt(nearly(textIn(Split.TEST)), { mayBeHeldOut: false }), RATIOS);
    expect(split).toBe(Split.QUARANTINED);
    expect(groupId).toBe(sha256Hex(nearly(textIn(Split.TEST))));
  });

  it('is quarantined when it is close to groups of two splits, and so is its copy', () => {
    const index = new GroupIndex('t');
    // Two texts that are 0.5 alike, and one between them that is 0.75 alike to each.
    const words = Array.from({ length: 60 }, (_, n) => testText(n).slice(0, 9));
    const text = (from: number) => words.slice(from, from + 42).join(' ');
    let salt = 0;
    const between = () => `${text(7)} ${salt}`;
    const [left, right] = [() => `${text(0)} ${salt}`, () => `${text(14)} ${salt}`];
    const splitAlone = (it: string) => splitOf('t', sha256Hex(it), RATIOS);
    while (splitAlone(left()) !== Split.TRAIN || splitAlone(right()) !== Split.TEST) salt += 1;
    expect(index.place(prompt(left()), RATIOS).split).toBe(Split.TRAIN);
    expect(index.place(prompt(right()), RATIOS).split).toBe(Split.TEST);
    expect(index.place(prompt(between()), RATIOS).split).toBe(Split.QUARANTINED);
    expect(index.place(prompt(between().toUpperCase()), RATIOS).split).toBe(Split.QUARANTINED);
  });

  it('is quarantined when it is close to an example that the teacher is shown', () => {
    const index = new GroupIndex('t');
    index.excludeExamples([testText(1)]);
    index.excludeExamples([testText(1)]);
    expect(index.place(prompt(testText(1)), RATIOS).split).toBe(Split.QUARANTINED);
    expect(index.place(prompt(nearly(testText(1))), RATIOS).split).toBe(Split.QUARANTINED);
    expect(index.place(prompt(testText(2)), RATIOS).split).not.toBe(Split.QUARANTINED);
  });
});

describe('an index filled from stored placements', () => {
  it('decides as the one that made them', () => {
    const texts = Array.from({ length: 300 }, (_, n) => (n % 3 === 2 ? nearly(testText(n - 1)) : testText(n)));
    const whole = new GroupIndex('t');
    const placements = texts.map((text) => whole.place(prompt(text), RATIOS));
    const restored = new GroupIndex('t');
    texts.slice(0, 150).forEach((text, n) => {
      restored.restore(sha256Hex(text), text, placements[n]!);
    });
    texts.slice(0, 150).forEach((text, n) => {
      expect(restored.find(sha256Hex(text))).toEqual(placements[n]);
    });
    expect(texts.slice(150).map((text) => restored.place(prompt(text), RATIOS))).toEqual(placements.slice(150));
    expect(restored.find(sha256Hex('never seen'))).toBeUndefined();
  });
});
