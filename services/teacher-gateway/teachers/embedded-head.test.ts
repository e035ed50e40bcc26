import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { choleskyFactor, choleskySolve } from './embedded-cholesky.ts';
import { fitHead, type LabelledEmbedding } from './embedded-head.ts';

/** Unit vectors around one direction a label, the further apart the larger `signal`. */
function clusters(options: {
  perLabel: number;
  labelCount: number;
  signal: number;
  seed: number;
}): LabelledEmbedding[] {
  let state = options.seed;
  const random = (): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647 - 0.5;
  };
  return Array.from({ length: options.perLabel * options.labelCount }, (_, index) => {
    const label = index % options.labelCount;
    const values = Float32Array.from({ length: 16 }, (_, k) => random() + (k === label ? options.signal : 0));
    const length = Math.hypot(...values);
    return { embedding: values.map((value) => value / length), label };
  });
}

const similarity = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, value, k) => sum + value * (b[k] as number), 1);

describe('the fitted head', () => {
  test.each([
    { labelCount: 2, perLabel: 20, signal: 1 },
    { labelCount: 2, perLabel: 20, signal: 0.1 },
    { labelCount: 5, perLabel: 8, signal: 0.5 },
  ])('is the minimum: no gradient is left, $labelCount labels, signal $signal', (options) => {
    const examples = clusters({ ...options, seed: 7 });
    const head = fitHead(examples, options.labelCount);
    const fitted = examples.map(({ embedding }) => head.probabilities(embedding));
    // Where the gradient is zero, W = Σ (yᵢ − pᵢ) xᵢ / nλ, so the logits of any point follow from the fitted probabilities.
    for (const { embedding } of clusters({ ...options, seed: 11 })) {
      const logits = Array.from({ length: options.labelCount }, (_, label) =>
        examples.reduce((sum, example, i) => {
          const residual = (example.label === label ? 1 : 0) - (fitted[i]?.[label] as number);
          return sum + (residual * similarity(example.embedding, embedding)) / (examples.length * head.lambda);
        }, 0),
      );
      const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
      const expected = powers.map((power) => power / powers.reduce((a, b) => a + b));
      const got = head.probabilities(embedding);
      for (const [label, probability] of expected.entries()) expect(got[label]).toBeCloseTo(probability, 3);
    }
  });

  test('learns what can be learned and says so', () => {
    const head = fitHead(clusters({ perLabel: 20, labelCount: 3, signal: 2, seed: 1 }), 3);
    const unseen = clusters({ perLabel: 50, labelCount: 3, signal: 2, seed: 2 });
    for (const { embedding, label } of unseen) expect(head.probabilities(embedding)[label]).toBeGreaterThan(0.9);
  });

  test('hardly dares where there is nothing to learn', () => {
    const head = fitHead(clusters({ perLabel: 30, labelCount: 2, signal: 0, seed: 3 }), 2);
    for (const { embedding } of clusters({ perLabel: 30, labelCount: 2, signal: 0, seed: 4 })) {
      expect(Math.max(...head.probabilities(embedding))).toBeLessThan(0.75);
    }
  });

  test('gives probabilities, the same each time, whatever the examples', () => {
    const example = fc.record({
      embedding: fc.array(fc.integer({ min: -8, max: 8 }), { minLength: 4, maxLength: 4 }).map((values) => {
        const length = Math.hypot(...values) || 1;
        return Float32Array.from(values, (value) => value / length);
      }),
      label: fc.integer({ min: 0, max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(example, { minLength: 1, maxLength: 12 }), (examples) => {
        const [one, other] = [fitHead(examples, 3), fitHead(examples, 3)];
        for (const { embedding } of examples) {
          const probabilities = one.probabilities(embedding);
          expect(probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
          expect(other.probabilities(embedding)).toEqual(probabilities);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('does with one example of each label, and with the same example under two labels', () => {
    const [first, second] = clusters({ perLabel: 1, labelCount: 2, signal: 2, seed: 5 }) as [
      LabelledEmbedding,
      LabelledEmbedding,
    ];
    expect(fitHead([first, second], 2).probabilities(first.embedding)[0]).toBeGreaterThan(0.5);
    const torn = fitHead([first, { ...first, label: 1 }], 2);
    expect(torn.probabilities(first.embedding)[0]).toBeCloseTo(0.5, 6);
  });
});

test('a Cholesky factor solves what it was made from', () => {
  const matrix = Float64Array.from([4, 2, 0.5, 2, 5, 1, 0.5, 1, 3]);
  const solution = [1, -2, 0.25, 4, 3, -1];
  const b = Float64Array.from(
    [0, 1, 2].flatMap((i) =>
      [0, 1].map((c) =>
        [0, 1, 2].reduce((sum, k) => sum + (matrix[i * 3 + k] as number) * (solution[k * 2 + c] as number), 0),
      ),
    ),
  );
  choleskySolve(choleskyFactor(matrix, 3), b, 3, 2);
  for (const [at, value] of solution.entries()) expect(b[at]).toBeCloseTo(value, 12);
});
