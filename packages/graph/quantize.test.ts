import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ints } from './emit.ts';
import { wave } from './gradient-cases.ts';
import { Graph } from './graph.ts';
import { importModel } from './import.ts';
import { quantizeInt8, quantizeWeights } from './quantize.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { elementCount, type TensorValue, tensor, vectorOf } from './tensor.ts';

const weightOf = (dims: readonly number[], phase: number): TensorValue =>
  tensor('float32', dims, Float32Array.from(wave(dims, phase).data as Float64Array));

async function run(graph: Graph, feeds: Readonly<Record<string, TensorValue>>): Promise<Float32Array> {
  const session = await openSession(serialize(graph), { threads: 1 });
  const results = await session.run(
    Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, toRuntime(value)])),
  );
  await session.release();
  return results[graph.outputs[0]?.name as string]?.data as Float32Array;
}

/** Root mean square of the difference over that of the reference. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  const square = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(actual.map((value, i) => value - (expected[i] as number))) / square(expected));
}

describe('int8', () => {
  it('is within half a scale of every number, whatever the numbers and the axis', () => {
    fc.assert(
      fc.property(
        fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 })),
        fc.nat(2),
        fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }), {
          minLength: 60,
          maxLength: 60,
        }),
        (dims, axis, numbers) => {
          const data = Float32Array.from(numbers.slice(0, elementCount(dims)));
          const { integers, scales } = quantizeInt8(tensor('float32', dims, data), axis);
          expect(scales.dims).toEqual([dims[axis]]);
          const inner = elementCount(dims.slice(axis + 1));
          for (const [i, value] of data.entries()) {
            const scale = scales.data[Math.floor(i / inner) % (dims[axis] as number)] as number;
            const error = Math.abs((integers.data[i] as number) * scale - value);
            expect(error).toBeLessThanOrEqual(0.5 * scale * (1 + 1e-5) + 1e-30);
          }
        },
      ),
    );
  });
});

describe('quantized weights', () => {
  it('of products are dequantised, on whichever side they are and however transposed', async () => {
    const graph = new Graph('m');
    const x = graph.input('x', 'float32', ['batch', 6]);
    const [a, b, c] = [weightOf([6, 5], 1), weightOf([4, 5], 2), weightOf([3, 5], 3)];
    const first = graph.node('MatMul', [x, graph.constant(a, 'a')]);
    const second = graph.node('Gemm', [first, graph.constant(b, 'b')], { transB: 1 });
    const left = graph.node('MatMul', [graph.constant(c, 'c'), graph.node('Transpose', [first])]);
    graph.output('y', graph.node('Concat', [second, graph.node('Transpose', [left])], { axis: 1 }));
    const quantized = quantizeWeights(graph, ['a', 'b', 'c']);
    expect(quantized.nodes.filter(({ operator }) => operator === 'DequantizeLinear')).toHaveLength(3);
    expect(quantized.constants.every(({ tensor: { type, dims } }) => type === 'int8' || dims.length === 1)).toBe(true);
    const feeds = { x: weightOf([7, 6], 4) };
    const expected = await run(graph, feeds);
    expect(relativeError(await run(quantized, feeds), expected)).toBeLessThan(0.01);
  });

  it('have scales by rows or columns, whichever one number far out spoils less', () => {
    for (const [at, axis] of [
      [0, 'row'],
      [1, 'column'],
    ] as const) {
      const graph = new Graph(axis);
      const weight = weightOf([30, 20], 1);
      for (let i = 0; i < (at === 0 ? 20 : 30); i++) weight.data[at === 0 ? i : i * 20] = 1000 + i;
      graph.output('y', graph.node('MatMul', [graph.input('x', 'float32', [1, 30]), graph.constant(weight, 'weight')]));
      const scales = quantizeWeights(graph, ['weight']).constants.find(({ value }) => value.name === 'weight.scales');
      expect(scales?.value.shape, axis).toEqual([at === 0 ? 30 : 20]);
    }
  });

  it('of a table are gathered before they are float again, also where the table is tied to a product', async () => {
    const graph = new Graph('m');
    const ids = graph.input('ids', 'int64', ['length']);
    const table = graph.constant(weightOf([40, 8], 1), 'table');
    const rows = graph.node('Gather', [table, ids]);
    graph.output('rows', rows);
    const feeds = { ids: vectorOf('int64', [3, 39, 3, 0]) };
    const quantized = quantizeWeights(graph, ['table']);
    expect(quantized.nodes[0]?.operator).toBe('Gather');
    expect(quantized.nodes[0]?.outputs[0]).toMatchObject({ type: 'int8', shape: ['length', 8] });
    expect(relativeError(await run(quantized, feeds), await run(graph, feeds))).toBeLessThan(0.01);

    const tied = new Graph('tied');
    const again = tied.constant(weightOf([40, 8], 1), 'table');
    const found = tied.node('Gather', [
      again,
      tied.node('Squeeze', [tied.input('ids', 'int64', ['n', 1]), ints(tied, [1])]),
    ]);
    tied.output('scores', tied.node('Gemm', [found, again], { transB: 1 }));
    const both = quantizeWeights(tied, ['table']);
    expect(both.constants.filter(({ tensor: { type } }) => type === 'int8')).toHaveLength(1);
    const column = { ids: vectorOf('int64', [3, 39, 3, 0], [4, 1]) };
    expect(relativeError(await run(both, column), await run(tied, column))).toBeLessThan(0.01);
  });

  it('leave the states of an encoder nearly as they were', async () => {
    const file = join(import.meta.dirname, 'fixtures', 'bert-torchscript-17.onnx');
    const { graph, parameters } = await importModel(file);
    const matrices = parameters.filter(({ tensor: { dims } }) => dims.length === 2);
    const quantized = quantizeWeights(
      graph,
      matrices.map(({ name }) => name),
    );
    const tokens = (value: (i: number) => number) =>
      vectorOf(
        'int64',
        Array.from({ length: 10 }, (_, i) => value(i)),
        [2, 5],
      );
    const feeds = {
      input_ids: tokens((i) => 3 + 4 * i),
      attention_mask: tokens((i) => Number(i !== 9)),
      token_type_ids: tokens(() => 0),
    };
    expect(relativeError(await run(quantized, feeds), await run(graph, feeds))).toBeLessThan(0.03);
  });

  it('take a quarter of the room', () => {
    const graph = new Graph('m');
    const weight = graph.constant(weightOf([256, 512], 1), 'weight');
    graph.output('y', graph.node('MatMul', [graph.input('x', 'float32', [1, 256]), weight]));
    const bytes = [graph, quantizeWeights(graph, ['weight'])].map((model) => serialize(model).length) as [
      number,
      number,
    ];
    expect(bytes[1] / bytes[0]).toBeLessThan(0.26);
  });

  it('are refused where a name is no matrix of the graph', () => {
    const graph = new Graph('m');
    const bias = graph.constant(weightOf([4], 1), 'bias');
    graph.output('y', graph.node('Add', [graph.input('x', 'float32', [4]), bias]));
    expect(() => quantizeWeights(graph, ['bias'])).toThrow(
      'weight "bias" of model "m": expected a float32 matrix in use',
    );
    expect(() => quantizeWeights(graph, ['none'])).toThrow('got no constant');
  });
});
