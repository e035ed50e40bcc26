import { expect, it } from 'vitest';
import { bestOf, isStale } from './stopping.ts';

const history = (...results: [devAgreement: number, devLoss: number][]) =>
  results.map(([devAgreement, devLoss], i) => ({ epoch: i + 1, loss: 1, devAgreement, devLoss }));

it('prefers agreement, then the lower loss, then the earlier epoch', () => {
  expect(bestOf([])).toBeUndefined();
  expect(bestOf(history([0.8, 0.5], [0.9, 0.6], [0.9, 0.4], [0.9, 0.4]))?.epoch).toBe(3);
});

it('stops only when neither agreement nor loss has improved for the whole patience', () => {
  expect(isStale(history([0.9, 0.5], [0.9, 0.5]), 2)).toBe(false);
  expect(isStale(history([0.9, 0.5], [0.9, 0.5], [0.8, 0.6]), 2)).toBe(true);
  expect(isStale(history([0.9, 0.5], [0.91, 0.6], [0.8, 0.6]), 2)).toBe(false);
  expect(isStale(history([0.9, 0.5], [0.8, 0.6], [0.8, 0.49]), 2)).toBe(false);
});
