import { describe, expect, it } from 'vitest';
import { differentiate } from './differentiate.ts';
import { GRADIENT_CASES, wave, weightedSum } from './gradient-cases.ts';
import { GRADIENT_RULES, GRADIENT_RULES_OF_SEVERAL } from './gradients.ts';
import { Graph, type Value } from './graph.ts';
import { softCrossEntropy } from './loss.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { type TensorValue, tensor } from './tensor.ts';

/** Central differences in float64 with this step leave an error near 1e-9 for functions of order one. */
const STEP = 1e-5;
const TOLERANCE = 1e-6;

async function check(
  inputs: readonly TensorValue[],
  loss: (graph: Graph, values: readonly Value[]) => Value,
): Promise<void> {
  const graph = new Graph('gradient-check');
  const values = inputs.map(({ dims }, i) => graph.input(`x${i}`, 'float64', dims));
  const scalarLoss = loss(graph, values);
  graph.output('loss', scalarLoss);
  for (const [i, gradient] of differentiate(graph, scalarLoss, values).entries()) {
    expect(gradient.shape).toEqual(inputs[i]?.dims);
    graph.output(`gradient${i}`, gradient);
  }
  const session = await openSession(serialize(graph), { threads: 1 });
  const run = (xs: readonly TensorValue[]) =>
    session.run(Object.fromEntries(xs.map((x, i) => [`x${i}`, toRuntime(x)] as const)));
  const lossAt = async (i: number, element: number, shift: number): Promise<number> => {
    const x = inputs[i] as TensorValue;
    const data = Float64Array.from(x.data as Float64Array);
    data[element] = (data[element] as number) + shift;
    return Number((await run(inputs.with(i, { ...x, data }))).loss?.data[0]);
  };
  const result = await run(inputs);
  for (const [i, { dims }] of inputs.entries()) expect(result[`gradient${i}`]?.dims).toEqual(dims);
  for (const [i, { data }] of inputs.entries()) {
    for (let element = 0; element < data.length; element++) {
      const numeric = ((await lossAt(i, element, STEP)) - (await lossAt(i, element, -STEP))) / (2 * STEP);
      const analytic = Number(result[`gradient${i}`]?.data[element]);
      expect(analytic, `input ${i}, element ${element}`).toBeCloseTo(numeric, -Math.log10(TOLERANCE));
    }
  }
  await session.release();
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
