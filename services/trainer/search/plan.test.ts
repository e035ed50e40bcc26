import { compileTask, parseTask } from '@understudy/task';
import { describe, expect, it } from 'vitest';
import { taskOf } from '../testing.ts';
import type { PinnedEncoder } from './encoder.ts';
import { type Machine, planOf } from './plan.ts';

const order = {
  ...{ task: 'desk', taskDigest: 'd'.repeat(64), runId: 'r', seal: 1 },
  snapshot: { digest: 'a'.repeat(64), fingerprint: 'f', trainPairs: 4_000, devPairs: 500, testPairs: 1_000 },
};
const two: Machine = { threads: 2, memoryBytes: 8 * 1024 ** 3, sharesDevice: true };
const encoder = { folder: '/models/minilm' };
const pinned = { folder: '/models/minilm', digest: 'e'.repeat(64), modelBytes: 90_000_000 };

const plan = (change: { training?: object; goal?: object } = {}, machine = two, at: PinnedEncoder = pinned) =>
  planOf(order, compileTask(parseTask(JSON.stringify(taskOf(change)))), machine, at);

describe('the ladder', () => {
  it('is of all families, cheapest first, and of an encoder where the task names one', () => {
    expect(plan().ladder.map(({ name }) => name)).toEqual(['bag', 'conv', 'transformer']);
    const all = plan({ training: { encoder }, goal: { sizeBytes: 200_000_000 } });
    expect(all.ladder.map(({ name, unfit }) => [name, unfit])).toEqual([
      ['bag', undefined],
      ['conv', undefined],
      ['transformer', undefined],
      ['encoder minilm (all)', undefined],
    ]);
  });

  it("names a hub's encoder by its name", () => {
    const hub = `sentence-transformers/all-MiniLM-L6-v2@${'c'.repeat(40)}`;
    const { ladder } = plan({ training: { families: ['encoder'], encoder: { hub, train: 'heads' } } });
    expect(ladder.map(({ name }) => name)).toEqual(['encoder all-MiniLM-L6-v2 (heads)']);
  });

  it('is of the families that the task wants, in the ladder order', () => {
    const names = plan({ training: { families: ['transformer', 'bag'] } }).ladder.map(({ name }) => name);
    expect(names).toEqual(['bag', 'transformer']);
  });

  it('leaves out what would be too large, but never the first', () => {
    const small = plan({ goal: { sizeBytes: 1_000 } }).ladder;
    expect(small[0]?.unfit).toBeUndefined();
    expect(small.slice(1).map(({ unfit }) => unfit?.status)).toEqual(['skipped', 'skipped']);
    expect(small[1]?.unfit?.reason).toMatch(/^about \d+\.\d MB, and goal.sizeBytes allows 0.001 MB$/);
  });

  it('takes a quarter of a published encoder for its size', () => {
    const fits = (sizeBytes: number) => plan({ training: { encoder }, goal: { sizeBytes } }).ladder.at(-1)?.unfit;
    expect(fits(22_500_000)).toBeUndefined();
    expect(fits(22_400_000)?.reason).toBe('about 22.5 MB, and goal.sizeBytes allows 22.4 MB');
  });

  it('leaves out an encoder that is not there', () => {
    const last = plan({ training: { encoder } }, two, { unusable: 'no such folder' }).ladder.at(-1);
    expect(last?.unfit).toEqual({ status: 'failed', reason: 'no such folder', transient: false });
  });
});

describe('the machine', () => {
  const shares = (machine: Partial<Machine>, training = {}) => {
    const { ladder, limits } = plan({ training }, { ...two, ...machine });
    return { slots: limits.slots, threads: ladder.map(({ threads }) => threads) };
  };

  it("is the first candidate's alone, and divided among as many of the others as get two threads each", () => {
    expect(shares({ threads: 1 })).toEqual({ slots: 1, threads: [1, 1, 1] });
    expect(shares({ threads: 2 })).toEqual({ slots: 1, threads: [2, 2, 2] });
    expect(shares({ threads: 5 })).toEqual({ slots: 2, threads: [5, 2, 2] });
    expect(shares({ threads: 16 })).toEqual({ slots: 2, threads: [16, 8, 8] });
  });

  it('takes as many at once as have memory, and one on an accelerator', () => {
    expect(shares({ threads: 16, memoryBytes: 3 * 1024 ** 3 })).toEqual({ slots: 1, threads: [16, 16, 16] });
    expect(shares({ threads: 16, sharesDevice: false })).toEqual({ slots: 1, threads: [16, 16, 16] });
  });

  it('gives a task no more threads than it wants', () => {
    expect(shares({ threads: 16 }, { threads: 3 })).toEqual({ slots: 1, threads: [3, 3, 3] });
  });
});

describe('keys', () => {
  const keys = (given: ReturnType<typeof plan>) => given.ladder.map(({ key }) => key);

  it('tell candidates and tasks apart, and stay the same on another machine', () => {
    const one = plan({ training: { encoder } });
    expect(new Set([one.key, ...keys(one)]).size).toBe(5);
    expect(keys(plan({ training: { encoder } }, { ...two, threads: 8 }))).toEqual(keys(one));
    const fewer = plan({ training: { families: ['bag'] } });
    expect(fewer.key).not.toBe(one.key);
  });

  it('change with what an encoder folder holds', () => {
    const key = (digest: string) => plan({ training: { encoder } }, two, { ...pinned, digest }).ladder.at(-1)?.key;
    expect(key('f'.repeat(64))).not.toBe(key(pinned.digest));
    const elsewhere = plan({ training: { encoder } }, two, { ...pinned, folder: '/cache/minilm' });
    expect(elsewhere.ladder.at(-1)?.key).toBe(key(pinned.digest));
    expect(elsewhere.ladder.at(-1)?.candidate.encoder?.folder).toBe('/cache/minilm');
  });
});
