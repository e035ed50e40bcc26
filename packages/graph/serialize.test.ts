import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { expect, it } from 'vitest';
import { Graph } from './graph.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { scalar, tensor, vectorOf } from './tensor.ts';

function example(): Graph {
  const graph = new Graph('example');
  const x = graph.input('x', 'float32', ['batch', 2]);
  const weights = graph.constant(tensor('float32', [2, 1], Float32Array.of(2, 3)), 'weights');
  const y = graph.node('Gemm', [x, weights, graph.constant(scalar('float32', 1))]);
  graph.output('y', y);
  graph.output('same_y', y);
  graph.output('same_x', x);
  graph.output('squared', graph.node('Mul', [y, y]));
  return graph;
}

it('gives the same bytes for the same graph', () => {
  expect(Buffer.from(serialize(example())).equals(serialize(example()))).toBe(true);
});

it('names the node that computes an output after it, and copies only what has another name', () => {
  const { graph } = fromBinary(ModelProtoSchema, serialize(example()));
  expect(graph?.node.map(({ opType, output }) => `${opType} → ${output}`)).toEqual([
    'Gemm → y',
    'Mul → squared',
    'Identity → same_y',
    'Identity → same_x',
  ]);
});

it('runs with any size of a named dimension', async () => {
  const session = await openSession(serialize(example()), { threads: 1 });
  for (const batch of [1, 3]) {
    const x = vectorOf(
      'float32',
      Array.from({ length: batch * 2 }, (_, i) => i),
      [batch, 2],
    );
    const result = await session.run({ x: toRuntime(x) });
    const expected = Array.from({ length: batch }, (_, row) => 2 * (2 * row) + 3 * (2 * row + 1) + 1);
    expect(Array.from(result.y?.data as Float32Array)).toEqual(expected);
    expect(result.same_y?.data).toEqual(result.y?.data);
    expect(result.same_x?.data).toEqual(x.data);
    expect(Array.from(result.squared?.data as Float32Array)).toEqual(expected.map((y) => y * y));
  }
  await session.release();
});
