import { expect, it } from 'vitest';
import { dropoutMask, hostMask, type MaskSpec } from './dropout.ts';
import { Graph } from './graph.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { scalar } from './tensor.ts';

const SPEC: MaskSpec = { name: 'hidden', dims: [50, 401], rate: 0.2 };
const CLOCKS = [
  [1, 1],
  [1, 2],
  [2, 1],
  [-5, 7],
  [2 ** 40, 123_456],
] as const;

async function masks(spec: MaskSpec, threads = 2): Promise<Float32Array[]> {
  const graph = new Graph('dropout');
  const [seed, step] = [graph.input('seed', 'int64', []), graph.input('step', 'int64', [])];
  const mask = dropoutMask(graph, seed, step, spec);
  expect(mask.shape).toEqual(spec.dims);
  graph.output('mask', mask);
  const session = await openSession(serialize(graph), { threads });
  const drawn: Float32Array[] = [];
  for (const [s, t] of CLOCKS) {
    const result = await session.run({ seed: toRuntime(scalar('int64', s)), step: toRuntime(scalar('int64', t)) });
    drawn.push(Float32Array.from(result.mask?.data as Float32Array));
  }
  await session.release();
  return drawn;
}

it('draws the same bits in the graph and on the host', async () => {
  for (const dims of [[1], [3], [4096], [4097], SPEC.dims]) {
    const spec = { ...SPEC, dims };
    const drawn = await masks(spec);
    for (const [i, [seed, step]] of CLOCKS.entries()) expect(drawn[i]).toEqual(hostMask(spec, seed, step));
  }
});

it('pins the bits, which checkpoints and published students rely on', () => {
  const bits = hostMask({ ...SPEC, dims: [64] }, 7, 3).map((value) => Number(value === 0));
  expect(bits.join('')).toBe('0101000111110100100010000011000000011100100000001010000101000000');
});

it('differs by seed, step and name', () => {
  const others = [hostMask(SPEC, 1, 2), hostMask(SPEC, 2, 1), hostMask({ ...SPEC, name: 'other' }, 1, 1)];
  const mask = hostMask(SPEC, 1, 1);
  for (const other of others) {
    const equal = mask.filter((value, i) => value === other[i]).length / mask.length;
    // Two independent masks agree in 0.2² + 0.8² = 0.68 of their values; five deviations of 20,050 draws.
    expect(Math.abs(equal - 0.68)).toBeLessThan(0.017);
  }
});

it('drops its rate, rounded to 1/256, and keeps the expectation', () => {
  for (const rate of [0, 0.1, 0.2, 0.5]) {
    const mask = hostMask({ name: 'large', dims: [400_000], rate }, 3, 9);
    const share = mask.filter((value) => value === 0).length / mask.length;
    const rounded = Math.round(rate * 256) / 256;
    expect(Math.abs(share - rounded)).toBeLessThan(5 * Math.sqrt(0.25 / mask.length));
    expect(Math.max(...mask.subarray(0, 1000))).toBe(Math.fround(1 / (1 - rounded)));
  }
});

it('shows no dependence between neighbours, rows or columns', () => {
  const width = 384;
  const mask = hostMask({ name: 'x', dims: [1024, width], rate: 0.5 }, 11, 4).map((value) => value - 1);
  for (const distance of [1, 2, 3, 4, 8, width, 2 * width, 1024, (1024 * width) / 4]) {
    let sum = 0;
    for (let i = distance; i < mask.length; i++) sum += (mask[i] as number) * (mask[i - distance] as number);
    expect(Math.abs(sum / (mask.length - distance)), `distance ${distance}`).toBeLessThan(
      5 / Math.sqrt(mask.length / 2),
    );
  }
});

it('refuses a rate that keeps nothing', () => {
  for (const rate of [1, -0.1, Number.NaN]) {
    expect(() => hostMask({ ...SPEC, rate }, 1, 1)).toThrow('dropout "hidden": expected a rate from 0 to 0.99609375');
  }
});
