import { describe, expect, it } from 'vitest';
import { differentiate } from './differentiate.ts';
import { compareGradients, TOLERANCE } from './gradient-check.ts';
import { Graph, type Value } from './graph.ts';
import { binaryCrossEntropy, huber, softCrossEntropy, spanCrossEntropy } from './loss.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { type TensorValue, vectorOf } from './tensor.ts';

type Rows = readonly (readonly number[])[];
type Constant = (values: Rows | readonly number[]) => Value;
type Loss = (graph: Graph, inputs: readonly Value[], constant: Constant) => Value;
type FloatType = 'float64' | 'float32';

const matrix = (type: FloatType, rows: Rows): TensorValue =>
  vectorOf(type, rows.flat(), [rows.length, rows[0]?.length as number]);
const constantsOf =
  (graph: Graph, type: FloatType): Constant =>
  (values) =>
    graph.constant(
      typeof values[0] === 'number' ? vectorOf(type, values as readonly number[]) : matrix(type, values as Rows),
    );

/** A loss and its gradients for the inputs. */
async function evaluate(
  inputs: readonly Rows[],
  build: Loss,
  type: FloatType,
): Promise<{ readonly loss: number; readonly gradients: readonly number[][] }> {
  const graph = new Graph('loss');
  const tensors = inputs.map((rows) => matrix(type, rows));
  const values = tensors.map(({ dims }, i) => graph.input(`x${i}`, type, dims));
  const loss = build(graph, values, constantsOf(graph, type));
  graph.output('loss', loss);
  for (const [i, gradient] of differentiate(graph, loss, values).entries()) graph.output(`gradient${i}`, gradient);
  const session = await openSession(serialize(graph), { threads: 1 });
  const result = await session.run(Object.fromEntries(tensors.map((x, i) => [`x${i}`, toRuntime(x)] as const)));
  await session.release();
  const numbers = (name: string): number[] => Array.from(result[name]?.data as Float64Array, Number);
  return { loss: numbers('loss')[0] as number, gradients: inputs.map((_, i) => numbers(`gradient${i}`)) };
}

/** Compares gradients with central differences, and gives what `evaluate` does. */
async function expectGradients(inputs: readonly Rows[], build: Loss, type: FloatType = 'float64') {
  const checked = await compareGradients(
    inputs.map((rows) => matrix(type, rows)),
    (graph, values) => build(graph, values, constantsOf(graph, type)),
  );
  for (const { input, element, analytic, numeric } of checked) {
    expect(Math.abs(analytic - numeric), `input ${input}, element ${element}`).toBeLessThan(TOLERANCE[type]);
  }
  return await evaluate(inputs, build, type);
}

const WEIGHTS = [1, 2.5, 0];
const weightedMean = (values: readonly number[]): number =>
  values.reduce((sum, value, i) => sum + value * (WEIGHTS[i] as number), 0) / 3.5;
const logSoftmax = (row: readonly number[]): number[] => {
  const largest = Math.max(...row);
  const partition = Math.log(row.reduce((sum, x) => sum + Math.exp(x - largest), 0)) + largest;
  return row.map((x) => x - partition);
};

describe('cross-entropy with soft targets', () => {
  const logits = [
    [0.3, -1.2, 2],
    [1, 1, -0.5],
    [9, 9, 9],
  ];
  const targets = [
    [0.2, 0.1, 0.7],
    [1, 0, 0],
    [0, 1, 0],
  ];

  it.each([
    [0, 1],
    [0.1, 1],
    [0, 4],
    [0.1, 2.5],
  ])('is its formula, with smoothing %d at temperature %d', async (smoothing, temperature) => {
    const { loss } = await expectGradients([logits], (graph, [x], constant) =>
      softCrossEntropy(graph, x as Value, constant(targets), constant(WEIGHTS), smoothing, temperature),
    );
    const expected = logits.map((row, i) =>
      logSoftmax(row.map((x) => x / temperature)).reduce(
        (sum, p, c) => sum - p * ((1 - smoothing) * (targets[i]?.[c] as number) + smoothing / 3),
        0,
      ),
    );
    expect(loss).toBeCloseTo(temperature ** 2 * weightedMean(expected), 10);
  });

  it('stays finite, with exact gradients, at logits of ±10,000', async () => {
    const { loss, gradients } = await evaluate(
      [[[1e4, -1e4]]],
      (graph, [x], constant) => softCrossEntropy(graph, x as Value, constant([[0, 1]]), constant([1]), 0),
      'float32',
    );
    expect(loss).toBe(2e4);
    expect(gradients).toEqual([[1, -1]]);
  });
});

describe('binary cross-entropy', () => {
  it.each([0, 0.1])('is its formula, with smoothing %d', async (smoothing) => {
    const logits = [
      [0.3, -1.2],
      [0, 4],
      [9, 9],
    ];
    const targets = [
      [0.2, 1],
      [0, 1],
      [1, 0],
    ];
    // In float32: ONNX Runtime has no Softplus of float64.
    const { loss } = await expectGradients(
      [logits],
      (graph, [x], constant) => binaryCrossEntropy(graph, x as Value, constant(targets), constant(WEIGHTS), smoothing),
      'float32',
    );
    const expected = logits.map((row, i) =>
      row.reduce((sum, x, c) => {
        const p = 1 / (1 + Math.exp(-x));
        const t = (1 - smoothing) * (targets[i]?.[c] as number) + smoothing / 2;
        return sum - t * Math.log(p) - (1 - t) * Math.log(1 - p);
      }, 0),
    );
    expect(loss).toBeCloseTo(weightedMean(expected), 5);
  });

  it('stays finite, with exact gradients, at logits of ±10,000', async () => {
    const { loss, gradients } = await evaluate(
      [[[1e4, -1e4, 1e4, -1e4]]],
      (graph, [x], constant) => binaryCrossEntropy(graph, x as Value, constant([[1, 0, 0, 1]]), constant([1]), 0),
      'float32',
    );
    expect(loss).toBe(2e4);
    expect(gradients.flat().map(Math.abs)).toEqual([0, 0, 1, 1]);
  });
});

describe("Huber's loss", () => {
  const flat = (graph: Graph, value: Value): Value =>
    graph.node('Reshape', [value, graph.constant(vectorOf('int64', [-1]))]);
  const of =
    (targets: readonly number[], weights: readonly number[], delta: number): Loss =>
    (graph, [x], constant) =>
      huber(graph, flat(graph, x as Value), constant(targets), constant(weights), delta);

  it('is a parabola near zero and a line beyond', async () => {
    const [near, far] = [-0.3, 2];
    const { loss } = await expectGradients([[[near], [far], [7]]], of([0, 0, 0], WEIGHTS, 0.5));
    expect(loss).toBeCloseTo(weightedMean([0.5 * near ** 2, 0.5 * (far - 0.25), 0]), 10);
  });

  it('has the gradient ±δ, and 0 where prediction and target are the same', async () => {
    const { loss, gradients } = await evaluate([[[1e18], [-1e18], [3]]], of([0, 0, 3], [1, 1, 1], 2), 'float32');
    expect(Number.isFinite(loss)).toBe(true);
    expect(gradients[0]?.map((gradient) => Math.round(3 * gradient * 1e6) / 1e6 + 0)).toEqual([2, -2, 0]);
  });
});

describe('cross-entropy of spans', () => {
  const starts = [
    [0.3, -1.2, 2, 50],
    [1, 1, -0.5, 0.2],
    [0, 0, 0, 0],
  ];
  const ends = starts.map((row) => row.toReversed());
  const mask = [
    [1, 1, 1, 0],
    [1, 1, 1, 1],
    [0, 0, 0, 0],
  ];
  const startTargets = [
    [0, 0.5, 0.5, 0],
    [1, 0, 0, 0],
    [0, 0, 0, 0],
  ];
  const endTargets = [
    [0, 0, 1, 0],
    [0, 0, 0, 1],
    [0, 0, 0, 0],
  ];

  it.each([0, 0.1])('looks at the positions that the mask allows, with smoothing %d', async (smoothing) => {
    const { loss, gradients } = await expectGradients([starts, ends], (graph, [s, e], constant) =>
      spanCrossEntropy(
        graph,
        { logits: s as Value, targets: constant(startTargets) },
        { logits: e as Value, targets: constant(endTargets) },
        constant(mask),
        constant(WEIGHTS),
        smoothing,
      ),
    );
    const one = (logits: Rows, targets: Rows, i: number): number => {
      const allowed = mask[i]?.flatMap((m, c) => (m ? [c] : [])) as number[];
      const log = logSoftmax(allowed.map((c) => logits[i]?.[c] as number));
      return allowed.reduce((sum, c, at) => {
        const target = (1 - smoothing) * (targets[i]?.[c] as number) + smoothing / allowed.length;
        return sum - target * (log[at] as number);
      }, 0);
    };
    const expected = [0, 1].map((i) => (one(starts, startTargets, i) + one(ends, endTargets, i)) / 2);
    expect(loss).toBeCloseTo(weightedMean([...expected, 0]), 10);
    expect(gradients[0]?.[3], 'a masked position').toBe(0);
  });
});
