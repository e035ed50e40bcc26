import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fitTemperature, MAX_TEMPERATURE, MIN_TEMPERATURE, negativeLogLikelihood, reliability } from './calibration.ts';
import { randomSource } from './random-source.ts';

const logits = [
  [2, -1, 0.5],
  [0.2, 0.1, -0.4],
  [-3, 4, 1],
  [1, 1.5, 0],
  [0, -2, 3],
  [5, 1, -1],
  [0.3, 2.2, 2],
  [1, 0, -1],
];
const labels = [0, 1, 1, 0, 2, 0, 1, 2];

describe('temperature', () => {
  test('is the one that scipy finds for the same pairs', () => {
    const temperature = fitTemperature(logits, labels);
    expect(temperature).toBeCloseTo(1.2152865525, 5);
    expect(negativeLogLikelihood(logits, labels, temperature)).toBeCloseTo(0.68652914185368, 10);
    expect(negativeLogLikelihood(logits, labels, 1)).toBeCloseTo(0.694102010490711, 12);
    expect(negativeLogLikelihood(logits, labels, 2)).toBeCloseTo(0.7251566558752429, 12);
  });

  test('no other temperature is likelier', () => {
    const value = fc.double({ min: -8, max: 8, noNaN: true });
    const pair = fc.tuple(fc.array(value, { minLength: 3, maxLength: 3 }), fc.nat(2));
    const other = fc.double({ min: MIN_TEMPERATURE, max: MAX_TEMPERATURE, noNaN: true });
    fc.assert(
      fc.property(fc.array(pair, { minLength: 1, maxLength: 40 }), other, (pairs, temperature) => {
        const [rows, given] = [pairs.map(([row]) => row), pairs.map(([, label]) => label)];
        const best = negativeLogLikelihood(rows, given, fitTemperature(rows, given));
        expect(best).toBeLessThanOrEqual(negativeLogLikelihood(rows, given, temperature) + 1e-9);
      }),
    );
  });

  test('stays within its bounds where no fault, or nothing but faults, is seen', () => {
    expect(fitTemperature([[3, 0]], [0])).toBe(MIN_TEMPERATURE);
    expect(fitTemperature([[3, 0]], [1])).toBe(MAX_TEMPERATURE);
    expect(fitTemperature([], [])).toBe(1);
  });

  test('finds back by how much logits were stretched', () => {
    const random = randomSource(7);
    const rows = Array.from({ length: 20_000 }, () => [4 * random() - 2, 0]);
    const drawn = rows.map(([first]) => (random() < 1 / (1 + Math.exp(-first!)) ? 0 : 1));
    const stretched = rows.map((row) => row.map((value) => value * 3));
    expect(fitTemperature(stretched, drawn)).toBeCloseTo(3, 0);
  });
});

describe('reliability', () => {
  test('is the distance of confidence and agreement, weighed by pairs', () => {
    const { expectedCalibrationError, bins } = reliability([0.95, 0.97, 1, 0.55], [true, false, true, true]);
    expect(bins).toEqual([
      { from: 8 / 15, to: 9 / 15, pairs: 1, confidence: 0.55, agreement: 1 },
      { from: 14 / 15, to: 1, pairs: 3, confidence: expect.closeTo(0.97333333), agreement: 2 / 3 },
    ]);
    expect(expectedCalibrationError).toBeCloseTo((0.45 + (2.92 - 2)) / 4, 12);
    expect(reliability([], [])).toEqual({ expectedCalibrationError: 0, bins: [] });
  });
});
