import { expect, it } from 'vitest';
import { Graph } from './graph.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { scalar, tensor, vectorOf } from './tensor.ts';
import { runInPlace, withoutCopies } from './uncopied-outputs.ts';

const SIZE = 4_000_000;

function addition(): Uint8Array {
  const graph = new Graph('addition');
  const x = graph.input('x', 'float32', [SIZE]);
  const one = graph.input('one', 'float32', []);
  graph.output('sum', graph.node('Add', [x, one]));
  graph.output('twice', graph.node('Add', [one, one]));
  return serialize(graph);
}

it('leaves outputs where the caller wants them and nowhere else', async () => {
  const session = await openSession(withoutCopies(addition(), 'twice'), { threads: 1 });
  const sum = tensor('float32', [SIZE], new Float32Array(SIZE));
  const twice = scalar('float32', 0);
  const feeds = {
    x: toRuntime(tensor('float32', [SIZE], new Float32Array(SIZE).fill(4))),
    one: toRuntime(scalar('float32', 1)),
  };
  const fetches = { sum: toRuntime(sum), twice: toRuntime(twice) };
  const before = process.memoryUsage().arrayBuffers;
  await runInPlace(session, feeds, fetches);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(SIZE);
  expect((sum.data as Float32Array).every((value) => value === 5)).toBe(true);
  expect(twice.data[0]).toBe(2);
  await session.release();
});

it('passes on what the runtime says of anything else', async () => {
  const session = await openSession(withoutCopies(addition(), 'twice'), { threads: 1 });
  const x = toRuntime(vectorOf('float32', [1, 2, 3]));
  await expect(runInPlace(session, { x, one: toRuntime(scalar('float32', 1)) }, {})).rejects.toThrow(/dimension/i);
  await session.release();
});
