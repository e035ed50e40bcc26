import { RetryableError, TerminalError } from '@understudy/service/errors';
import { describe, expect, test } from 'vitest';
import { CandidateError } from '../errors.ts';
import type { Outcome } from '../outcomes.ts';
import type { Trained } from '../training/protocol.ts';
import { type CurveParts, curveOf } from './curve.ts';

const trained = (agreeing: number, margin = -1): Trained => ({
  studentDigest: 'a'.repeat(64),
  sizeBytes: 1_000,
  hyperparameters: '{}',
  devAgreement: 0.9,
  dev: { pairs: 500, covered: 425, agreeing: 0, margin, ahead: { covered: 410, agreeing } },
  latencyUs: 100,
  trainingMs: 10,
});

const outcomeOf = (chosen: Trained): Outcome => ({
  family: 'conv',
  chosen,
  candidates: [
    { name: 'bag', family: 'bag', status: 'failed', reason: 'diverged', onFront: false },
    { name: 'conv', family: 'conv', status: 'trained', reason: '', onFront: true, trained: chosen },
  ],
  searchMs: 1,
  curve: [],
});

const rung = (name: 'bag' | 'conv') => ({ name, candidate: { family: name }, key: name, threads: 1, unfit: undefined });

function partsOf(change: Partial<CurveParts> = {}): CurveParts & { asked: [string, number][]; lost: string[] } {
  const asked: [string, number][] = [];
  const lost: string[] = [];
  return {
    plan: {
      key: 'search',
      ladder: [rung('bag'), rung('conv')],
      limits: { sizeBytes: 5_000_000, latencyMs: 20, provable: true, slots: 1 },
      limitMs: 60_000,
    },
    outcome: outcomeOf(trained(400)),
    trainPairs: 1_000,
    clock: { isOver: false, over: Promise.withResolvers<void>().promise, spentMs: 1 },
    signal: new AbortController().signal,
    train: async ({ name }, pairs) => {
      asked.push([name, pairs]);
      return trained(300 + pairs / 10);
    },
    onLost: ({ name }, reason) => lost.push(`${name}: ${reason}`),
    ...change,
    asked,
    lost,
  };
}

describe('the curve of a search', () => {
  test('is of the chosen candidate, on parts that double up to all of train', async () => {
    const parts = partsOf();
    const points = await curveOf(parts);
    expect(points.map(({ trainPairs, agreeing }) => [trainPairs, agreeing])).toEqual([
      [125, 312.5],
      [250, 325],
      [500, 350],
      [1_000, 400],
    ]);
    expect(parts.asked[0]).toEqual(['conv, 125 pairs', 125]);
  });

  test('is not drawn for a student that is good enough', async () => {
    const enough = partsOf({ outcome: outcomeOf(trained(420, 3)) });
    expect(await curveOf(enough)).toEqual([]);
    expect(enough.asked).toEqual([]);
  });

  test('is drawn where nothing can be proven yet: whether that will change is the question', async () => {
    const { plan } = partsOf();
    const unprovable = partsOf({ plan: { ...plan, limits: { ...plan.limits, provable: false } } });
    expect(await curveOf(unprovable)).toHaveLength(4);
  });

  test('leaves out parts that are too small and those that nothing can be trained on', async () => {
    const parts = partsOf({
      trainPairs: 150,
      train: async (_, pairs) => {
        if (pairs < 50) throw new TerminalError('all examples have one label');
        if (pairs < 100) throw new CandidateError('diverged', { crashed: false });
        return trained(300);
      },
    });
    expect(await curveOf(parts)).toEqual([]);
    expect(parts.lost).toEqual(['conv, 37 pairs: all examples have one label', 'conv, 75 pairs: diverged']);
  });

  test('ends when the time is over, with the points that there are', async () => {
    const time = Promise.withResolvers<void>();
    const parts = partsOf({
      clock: { isOver: false, over: time.promise, spentMs: 1 },
      train: async (_, pairs, signal) => {
        if (pairs === 125) return trained(310);
        const stopped = new Promise<never>((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
        );
        time.resolve();
        return stopped;
      },
    });
    expect((await curveOf(parts)).map(({ trainPairs }) => trainPairs)).toEqual([125, 1_000]);
    expect(parts.lost).toEqual(['conv, 250 pairs: the time for training was over']);
  });

  test('fails with what will pass, and ends with the run', async () => {
    const away = new RetryableError('the pair store is away');
    await expect(curveOf(partsOf({ train: () => Promise.reject(away) }))).rejects.toBe(away);
    const controller = new AbortController();
    const cancelled = partsOf({
      signal: controller.signal,
      train: async () => {
        controller.abort(new Error('cancelled'));
        throw new CandidateError('killed', { crashed: true });
      },
    });
    await expect(curveOf(cancelled)).rejects.toThrow('cancelled');
  });
});
