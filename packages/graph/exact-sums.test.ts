import { describe, expect, it } from 'vitest';
import { differentiate } from './differentiate.ts';
import { Graph } from './graph.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { elementCount, type TensorValue, tensor, vectorOf } from './tensor.ts';

const THREADS = [1, 2, 8];
/** The data race of `ScatterND(add)` lost updates in 198 of 200 runs with 2 threads. */
const RUNS = 20;

/** A gradient of Σ weights · (gathered rows), which adds up the weights of each row's uses. */
async function rowSums(
  table: readonly [rows: number, width: number],
  indices: TensorValue,
  axis: number,
  weights: TensorValue,
  threads: number,
): Promise<Float32Array[]> {
  const graph = new Graph('sums');
  const dims = axis === 0 ? table : table.toReversed();
  const source = graph.input('table', 'float32', dims);
  const gathered = graph.node('Gather', [source, graph.input('indices', indices.type, indices.dims)], { axis });
  const weighted = graph.node('Mul', [gathered, graph.input('weights', 'float32', weights.dims)]);
  const axes = graph.constant(vectorOf('int64', [...weights.dims.keys()]));
  const loss = graph.node('ReduceSum', [weighted, axes], { keepdims: 0 });
  const [gradient] = differentiate(graph, loss, [source]);
  graph.output('gradient', gradient as NonNullable<typeof gradient>);
  const session = await openSession(serialize(graph), { threads });
  const feeds = {
    table: toRuntime(tensor('float32', dims, new Float32Array(elementCount(dims)))),
    indices: toRuntime(indices),
    weights: toRuntime(weights),
  };
  const sums: Float32Array[] = [];
  for (let run = 0; run < RUNS; run++) {
    sums.push(Float32Array.from((await session.run(feeds)).gradient?.data as Float32Array));
  }
  await session.release();
  return sums;
}

describe.each(THREADS)('with %d threads, the gradient of heavily duplicated rows', (threads) => {
  it.each([
    [4_096, 3, 64],
    [20_000, 1, 16],
    [4_096, 700, 96],
  ])('is exact over %d uses of %d rows of %d', async (uses, rows, width) => {
    const indices = Array.from({ length: uses }, (_, i) => (i * 7 + (i >> 3)) % rows);
    // Integers whose sums stay below 2²⁴ are exact in float32 in any order.
    const weights = Float32Array.from({ length: uses * width }, (_, i) => ((i * 31) % 201) - 100);
    const expected = new Float64Array(rows * width);
    for (let i = 0; i < weights.length; i++) {
      const cell = (indices[Math.floor(i / width)] as number) * width + (i % width);
      expected[cell] = (expected[cell] as number) + (weights[i] as number);
    }
    const given = await rowSums(
      [rows, width],
      vectorOf('int64', indices),
      0,
      tensor('float32', [uses, width], weights),
      threads,
    );
    for (const sums of given) expect(sums).toEqual(Float32Array.from(expected));
  });

  it('is the same in every run and close to the sum in float64, for weights that round', async () => {
    const [uses, rows, width] = [4_096, 3, 64];
    const indices = Array.from({ length: uses }, (_, i) => (i * 7 + (i >> 3)) % rows);
    const weights = Float32Array.from({ length: uses * width }, (_, i) => Math.sin(i));
    const [exact, sizes] = [new Float64Array(rows * width), new Float64Array(rows * width)];
    for (let i = 0; i < weights.length; i++) {
      const cell = (indices[Math.floor(i / width)] as number) * width + (i % width);
      exact[cell] = (exact[cell] as number) + (weights[i] as number);
      sizes[cell] = (sizes[cell] as number) + Math.abs(weights[i] as number);
    }
    const given = await rowSums(
      [rows, width],
      vectorOf('int64', indices),
      0,
      tensor('float32', [uses, width], weights),
      threads,
    );
    for (const sums of given) expect(sums).toEqual(given[0]);
    for (const [cell, sum] of (given[0] as Float32Array).entries()) {
      // Rounding errors of a running sum in float32 are far below this; one lost update is some 10⁻³ of the sizes.
      expect(Math.abs(sum - (exact[cell] as number))).toBeLessThan(1e-5 * (sizes[cell] as number));
    }
  });

  it('is exact over uses of columns', async () => {
    const [uses, columns, height] = [2_048, 3, 8];
    const indices = Array.from({ length: uses }, (_, i) => (i * 5) % columns);
    const weights = Float32Array.from({ length: uses * height }, (_, i) => (i % 17) - 8);
    const expected = new Float64Array(columns * height);
    for (let i = 0; i < weights.length; i++) {
      const cell = Math.floor(i / uses) * columns + (indices[i % uses] as number);
      expected[cell] = (expected[cell] as number) + (weights[i] as number);
    }
    const given = await rowSums(
      [columns, height],
      vectorOf('int32', indices),
      1,
      tensor('float32', [height, uses], weights),
      threads,
    );
    for (const sums of given) expect(sums).toEqual(Float32Array.from(expected));
  });
});
