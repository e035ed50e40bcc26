import { expect, it } from 'vitest';
import { estimate } from './estimate.ts';
import { labelHead } from './heads/layout.ts';
import { LABELS, smallStudent } from './testing.ts';

const HEADS = [labelHead('topic', LABELS)];

/** A task of few words does not fill its vocabulary, so the settings ask for a small one. */
const CANDIDATES = [
  { family: 'bag', hyperparameters: { rows: 8_192, width: 32, epochs: 1 } },
  { family: 'conv', hyperparameters: { vocabulary: 300, epochs: 1 } },
  { family: 'transformer', hyperparameters: { vocabulary: 300, epochs: 1 } },
] as const;

it.each(CANDIDATES)('tells the size of a $family bundle before it is trained', async (candidate) => {
  const { archive } = await smallStudent({ candidate });
  const { megabytes } = estimate(candidate, HEADS);
  expect(megabytes / (archive.length / 1e6)).toBeGreaterThan(0.8);
  expect(megabytes / (archive.length / 1e6)).toBeLessThan(1.25);
});

it('leaves the size of an encoder to its folder', () => {
  expect(() => estimate({ family: 'encoder' }, HEADS)).toThrow('that of its folder');
});
