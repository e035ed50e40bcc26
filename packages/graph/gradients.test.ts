import { describe, expect, it } from 'vitest';
import { GRADIENT_CASES, wave, weightedSum } from './gradient-cases.ts';
import { checkedType, compareGradients, TOLERANCE } from './gradient-check.ts';
import { GRADIENT_RULES, GRADIENT_RULES_OF_SEVERAL } from './gradients.ts';
import type { Graph, Value } from './graph.ts';
import { softCrossEntropy } from './loss.ts';
import { type TensorValue, tensor } from './tensor.ts';

async function check(
  inputs: readonly TensorValue[],
  loss: (graph: Graph, values: readonly Value[]) => Value,
): Promise<void> {
  const tolerance = TOLERANCE[checkedType(inputs)];
  for (const { input, element, analytic, numeric } of await compareGradients(inputs, loss)) {
    expect(Math.abs(analytic - numeric), `input ${input}, element ${element}: ${analytic} for ${numeric}`).toBeLessThan(
      tolerance * (1 + Math.abs(numeric)),
    );
  }
}

describe('gradients agree with central differences', () => {
  for (const { operator, variant, inputs, build } of GRADIENT_CASES) {
    it(`${operator} ${variant ?? ''}`, () =>
      check(inputs, (graph, values) => weightedSum(graph, build(graph, values))));
  }

  it('a value used by several nodes gets the sum of its gradients', () =>
    check([wave([2, 3], 1)], (graph, [x]) => {
      const squared = graph.node('Mul', [x as Value, x as Value]);
      return weightedSum(graph, graph.node('Add', [graph.node('Tanh', [squared]), x as Value]));
    }));

  it('soft cross-entropy with label smoothing and a weight of 0', () =>
    check([wave([3, 4], 1)], (graph, [logits]) => {
      const targets = graph.constant(
        tensor('float64', [3, 4], Float64Array.of(1, 0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0, 0, 1, 0)),
      );
      const weights = graph.constant(tensor('float64', [3], Float64Array.of(1, 2.5, 0)));
      return softCrossEntropy(graph, logits as Value, targets, weights, 0.05);
    }));

  it('every rule has a case', () => {
    expect([...new Set(GRADIENT_CASES.map(({ operator }) => operator))].sort()).toEqual(
      Object.keys({ ...GRADIENT_RULES, ...GRADIENT_RULES_OF_SEVERAL }).sort(),
    );
  });
});
