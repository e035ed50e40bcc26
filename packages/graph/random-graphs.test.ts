import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ints, reduceSum, reshape, staticShape } from './emit.ts';
import { wave, weightedSum } from './gradient-cases.ts';
import { compareGradients } from './gradient-check.ts';
import type { Graph, Value } from './graph.ts';
import { elementCount, vectorOf } from './tensor.ts';

/** A node or a few over matrices that exist: `pick` chooses among variants. Values stay of order one. */
type Step = (graph: Graph, a: Value, b: Value, pick: number) => Value;

const rowsOf = (value: Value): number => staticShape(value)[0] as number;
const columnsOf = (value: Value): number => staticShape(value)[1] as number;

const mean = (graph: Graph, value: Value, axes: readonly number[]): Value =>
  graph.node('ReduceMean', [value, ints(graph, axes)], { keepdims: 1 });

/** A value as something that broadcasts to another: itself, its mean row or column, or its mean. */
function fitting(graph: Graph, value: Value, to: Value): Value {
  const axes = [rowsOf(value) === rowsOf(to) ? -1 : 0, columnsOf(value) === columnsOf(to) ? -1 : 1];
  const differing = axes.filter((axis) => axis >= 0);
  return differing.length === 0 ? value : mean(graph, value, differing);
}

const bounded = (graph: Graph, value: Value): Value => graph.node('Tanh', [value]);

const binary =
  (operator: string): Step =>
  (graph, a, b) =>
    graph.node(operator, [a, bounded(graph, fitting(graph, b, a))]);

const unary =
  (operator: string): Step =>
  (graph, a) =>
    graph.node(operator, [bounded(graph, a)]);

const STEPS: Readonly<Record<string, Step>> = {
  Add: binary('Add'),
  Sub: binary('Sub'),
  Mul: binary('Mul'),
  Div: (graph, a, b) => graph.node('Div', [a, graph.node('Exp', [bounded(graph, fitting(graph, b, a))])]),
  Pow: (graph, a, b) => graph.node('Pow', [graph.node('Sigmoid', [a]), bounded(graph, fitting(graph, b, a))]),
  Exp: unary('Exp'),
  Sin: unary('Sin'),
  Cos: unary('Cos'),
  Sigmoid: unary('Sigmoid'),
  Neg: unary('Neg'),
  Log: (graph, a) => graph.node('Log', [graph.node('Sigmoid', [bounded(graph, a)])]),
  Sqrt: (graph, a) => graph.node('Sqrt', [graph.node('Sigmoid', [bounded(graph, a)])]),
  Softmax: (graph, a, _b, pick) => graph.node('Softmax', [a], { axis: pick % 2 }),
  LogSoftmax: (graph, a, _b, pick) => graph.node('LogSoftmax', [bounded(graph, a)], { axis: (pick % 2) - 2 }),
  MatMul: (graph, a, b) => {
    const right = columnsOf(a) === columnsOf(b) ? b : a;
    const mixed = graph.node('MatMul', [bounded(graph, a), graph.node('Transpose', [right])]);
    return graph.node('Mul', [mixed, mean(graph, a, [0, 1])]);
  },
  Gemm: (graph, a, _b, pick) =>
    graph.node('Gemm', [bounded(graph, a), bounded(graph, a)], { transA: pick % 2, transB: 1 - (pick % 2) }),
  Transpose: (graph, a) => graph.node('Transpose', [a], { perm: [1, 0] }),
  Reshape: (graph, a, _b, pick) => reshape(graph, a, pick % 2 ? [columnsOf(a), -1] : [-1, 1]),
  Concat: (graph, a, b) => {
    const same = rowsOf(a) === rowsOf(b) ? b : a;
    return graph.node('Concat', [a, same], { axis: 1 });
  },
  Slice: (graph, a, _b, pick) => {
    const axis = pick % 2;
    const bounds = pick % 3 === 0 ? [-1, -100, -1] : [0, 100, 1 + (pick % 2)];
    return graph.node('Slice', [
      a,
      ints(graph, [bounds[0] as number]),
      ints(graph, [bounds[1] as number]),
      ints(graph, [axis]),
      ints(graph, [bounds[2] as number]),
    ]);
  },
  Split: (graph, a, _b, pick) => {
    const axis = pick % 2;
    const size = staticShape(a)[axis] as number;
    const sizes = ints(graph, [1, size - 1]);
    if (size < 2) return a;
    const [first, second] = graph.nodeOutputs('Split', [a, sizes], 2, { axis }) as [Value, Value];
    return pick % 3 === 0 ? first : second;
  },
  Gather: (graph, a, _b, pick) => {
    const axis = pick % 2;
    const size = staticShape(a)[axis] as number;
    const indices = graph.constant(vectorOf('int64', [pick % size, 0, pick % size]));
    return graph.node('Gather', [a, indices], { axis });
  },
  Expand: (graph, a) => graph.node('Expand', [reduceSum(graph, bounded(graph, a), [0], 1), ints(graph, [2, 1])]),
  Tile: (graph, a, _b, pick) => graph.node('Tile', [a, ints(graph, [1 + (pick % 2), 2])]),
  Pad: (graph, a, _b, pick) => graph.node('Pad', [a, ints(graph, [0, pick % 2, 1, 0])]),
  CumSum: (graph, a, _b, pick) => graph.node('CumSum', [bounded(graph, a), ints(graph, [pick % 2])]),
  Where: (graph, a, b) => {
    const other = graph.node('Mul', [fitting(graph, b, a), a]);
    const condition = graph.node('Greater', [graph.constant(wave(staticShape(a), 3)), graph.constant(wave([1, 1], 0))]);
    return bounded(graph, graph.node('Where', [condition, a, other]));
  },
};
const NAMES = Object.keys(STEPS);

/** Larger values than this are not built on: the checks take two runs for each element of the inputs only. */
const MAX_ELEMENTS = 64;

/** All values that the steps give, each of them used in the loss, so that every input and step has a gradient. */
function build(
  graph: Graph,
  inputs: readonly Value[],
  steps: readonly (readonly [number, number, number, number])[],
): Value {
  const values = [...inputs];
  for (const [step, a, b, pick] of steps) {
    const [left, right] = [values[a % values.length], values[b % values.length]] as [Value, Value];
    const value = (STEPS[NAMES[step % NAMES.length] as string] as Step)(graph, left, right, pick);
    if (elementCount(staticShape(value)) <= MAX_ELEMENTS) values.push(value);
  }
  return values.map((value) => weightedSum(graph, value)).reduce((a, b) => graph.node('Add', [a, b]));
}

const byte = fc.nat(255);

it('random graphs agree with central differences', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(byte, byte, byte, byte), { minLength: 1, maxLength: 8 }),
      fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
      async (steps, dims) => {
        const checked = await compareGradients([wave(dims, 1), wave([2, 3], 2)], (graph, inputs) =>
          build(graph, inputs, steps),
        );
        for (const { input, element, analytic, numeric } of checked) {
          const error = Math.abs(analytic - numeric) / (1 + Math.abs(numeric));
          expect(error, `input ${input}, element ${element}: ${analytic} for ${numeric}`).toBeLessThan(1e-6);
        }
      },
    ),
    { numRuns: 40 },
  ));
