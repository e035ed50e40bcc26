import { expect, it } from 'vitest';
import { dropoutMask } from './dropout.ts';
import { Graph } from './graph.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { scalar } from './tensor.ts';

const COUNT = 20_000;
const RATE = 0.2;

/** splitmix64's finaliser over BigInt: an independent reading of the same formula. */
function mix(z: bigint): bigint {
  const u64 = (v: bigint) => BigInt.asUintN(64, v);
  z = u64((u64(z) ^ (u64(z) >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = u64((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

function expectedMask(seed: number, step: number): number[] {
  const stream = mix(BigInt(seed) * 0xbf58476d1ce4e5b9n + BigInt(step) * 0xd1342543de82ef95n);
  return Array.from({ length: COUNT }, (_, i) => {
    const drawn = mix(BigInt(i + 1) * 0x9e3779b97f4a7c15n + stream) >> 40n;
    return Number(drawn) < Math.round(RATE * 2 ** 24) ? 0 : Math.fround(1 / (1 - RATE));
  });
}

async function masks(clocks: readonly (readonly [seed: number, step: number])[]): Promise<number[][]> {
  const graph = new Graph('dropout');
  const [seed, step] = [graph.input('seed', 'int64', []), graph.input('step', 'int64', [])];
  graph.output('mask', dropoutMask(graph, seed, step, COUNT, RATE));
  const session = await openSession(serialize(graph), { threads: 2 });
  const drawn: number[][] = [];
  for (const [s, t] of clocks) {
    const result = await session.run({ seed: toRuntime(scalar('int64', s)), step: toRuntime(scalar('int64', t)) });
    drawn.push(Array.from(result.mask?.data as Float32Array));
  }
  await session.release();
  return drawn;
}

it('is the hash of seed, step and position that its formula says, and nothing else', async () => {
  const clocks = [
    [1, 1],
    [1, 2],
    [2, 1],
    [2 ** 40, 123_456],
  ] as const;
  const drawn = await masks(clocks);
  for (const [i, [seed, step]] of clocks.entries()) expect(drawn[i]).toEqual(expectedMask(seed, step));
  expect(drawn[1]).not.toEqual(drawn[0]);
  expect(drawn[2]).not.toEqual(drawn[0]);
});

it('drops its rate and keeps the expectation', async () => {
  const [mask] = (await masks([[7, 1]])) as [number[]];
  const mean = mask.reduce((sum, value) => sum + value, 0) / COUNT;
  // Five standard errors of a mean of 20,000 draws with deviation 0.5.
  expect(Math.abs(mean - 1)).toBeLessThan(0.018);
});
