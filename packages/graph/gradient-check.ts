import { differentiate } from './differentiate.ts';
import { Graph, type Value } from './graph.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import type { TensorValue } from './tensor.ts';

/**
 * Central differences in float64 with this step leave an error near 1e-9 for functions of order one. In float32 a longer
 * step balances rounding, 1e-7/step, against curvature, step².
 */
const STEP = { float64: 1e-5, float32: 5e-3 } as const;
/** How far a gradient may be from the difference, for functions of order one. */
export const TOLERANCE = { float64: 1e-6, float32: 1e-3 } as const;

export type CheckedElement = {
  readonly input: number;
  readonly element: number;
  readonly analytic: number;
  readonly numeric: number;
};

type FloatType = keyof typeof STEP;

/** The type that a check of these inputs runs in. */
export const checkedType = (inputs: readonly TensorValue[]): FloatType =>
  inputs.every(({ type }) => type === 'float64') ? 'float64' : 'float32';

/**
 * The gradient of a loss for every element of its inputs, as differentiated and as the difference quotient of two runs.
 * @param inputs all float64, or all float32.
 * @param loss builds a scalar of the same type.
 */
export async function compareGradients(
  inputs: readonly TensorValue[],
  loss: (graph: Graph, values: readonly Value[]) => Value,
): Promise<CheckedElement[]> {
  const type = checkedType(inputs);
  const step = STEP[type];
  const graph = new Graph('gradient-check');
  const values = inputs.map(({ dims }, i) => graph.input(`x${i}`, type, dims));
  const scalarLoss = loss(graph, values);
  graph.output('loss', scalarLoss);
  for (const [i, gradient] of differentiate(graph, scalarLoss, values).entries()) {
    graph.output(`gradient${i}`, gradient);
  }
  const session = await openSession(serialize(graph), { threads: 1 });
  const run = (xs: readonly TensorValue[]) =>
    session.run(Object.fromEntries(xs.map((x, i) => [`x${i}`, toRuntime(x)] as const)));
  const lossAt = async (i: number, element: number, shift: number): Promise<number> => {
    const x = inputs[i] as TensorValue;
    const data = x.data.slice() as Float64Array;
    data[element] = (data[element] as number) + shift;
    return Number((await run(inputs.with(i, { ...x, data }))).loss?.data[0]);
  };
  const result = await run(inputs);
  const checked: CheckedElement[] = [];
  for (const [input, { data, dims }] of inputs.entries()) {
    const gradient = result[`gradient${input}`];
    if (gradient?.dims.join() !== dims.join()) {
      throw new RangeError(`the gradient of input ${input} has the shape [${gradient?.dims}], not [${dims}]`);
    }
    for (let element = 0; element < data.length; element++) {
      const numeric = ((await lossAt(input, element, step)) - (await lossAt(input, element, -step))) / (2 * step);
      checked.push({ input, element, analytic: Number(gradient.data[element]), numeric });
    }
  }
  await session.release();
  return checked;
}
