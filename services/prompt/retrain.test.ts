import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Verdict } from '@understudy/contract';
import { describe, expect, test } from 'vitest';
import { newPairsOccasion, permissionFor } from './retrain.ts';
import type { Run } from './run.ts';
import { beginRun, refuseRun } from './run-state.ts';

const nowMs = 1_800_000_000_000;
const minute = 60_000;
const terms = { budgetCalls: 1, budgetUsd: 0, firstBatch: 1, batchGrowth: 1, attemptsMs: 1, trainingMs: 1 };

const runAt = (runId: string, startMs: number, finished = true, taskDigest = 'newest'): Run => {
  const given = { runId, task: 'mail', taskDigest, ownPrompts: false, traceparent: '' };
  const run = finished ? refuseRun(given, 'over', startMs) : beginRun({ ...given, terms } as never, startMs);
  run.state.startedAt = timestampFromMs(startMs);
  expect(run.state.verdict).toBe(finished ? Verdict.BROKEN : Verdict.UNSPECIFIED);
  return run;
};
const policy = { runsPerWeek: 2, cooldownMinutes: 60, newPairsShare: 1 };
const mail = { task: 'mail', digest: 'newest' };

describe('a run by policy', () => {
  test('may begin where none did, and where only people began some', () => {
    expect(permissionFor([], mail, 'epoch-1', policy, nowMs)).toBe('now');
    expect(permissionFor([runAt('by-hand', nowMs - minute)], mail, 'epoch-1', policy, nowMs)).toBe('now');
  });
  test('is not needed while one of the newest version is under way; one of an older version does not do', () => {
    expect(permissionFor([runAt('by-hand', nowMs, false)], mail, 'epoch-1', policy, nowMs)).toBe('under way');
    expect(permissionFor([runAt('by-hand', nowMs, false, 'older')], mail, 'epoch-1', policy, nowMs)).toBe('now');
  });
  test('waits for the end of the cool-down, and never longer than that, whatever the clock does', () => {
    const [before] = [runAt('auto-mail-3', nowMs - 20 * minute)];
    expect(permissionFor([before], mail, 'epoch-1', policy, nowMs)).toEqual({ waitMs: 40 * minute });
    expect(permissionFor([before], mail, 'epoch-1', policy, nowMs + 40 * minute)).toBe('now');
    expect(permissionFor([before], mail, 'epoch-1', policy, nowMs - 1_000 * minute)).toEqual({ waitMs: 60 * minute });
  });
  test('is one of so many in a week', () => {
    const runs = [runAt('auto-mail-3', nowMs - 6 * 24 * 60 * minute), runAt('auto-mail-5', nowMs - 120 * minute)];
    expect(permissionFor(runs, mail, 'epoch-1', policy, nowMs)).toBe('spent');
    expect(permissionFor(runs, mail, 'epoch-1', policy, nowMs + 2 * 24 * 60 * minute)).toBe('now');
    expect(permissionFor([], mail, 'epoch-1', { ...policy, runsPerWeek: 0 }, nowMs)).toBe('spent');
  });
  test('for new pairs takes none from a student that falls, but waits behind those that fell', () => {
    const better = ['auto-mail-pairs-1-1', 'auto-mail-pairs-1-2'].map((runId) => runAt(runId, nowMs - 120 * minute));
    expect(permissionFor(better, mail, newPairsOccasion(1n, 3), policy, nowMs)).toBe('spent');
    expect(permissionFor(better, mail, '2', policy, nowMs)).toBe('now');
    const fallen = ['auto-mail-3', 'auto-mail-epoch-1'].map((runId) => runAt(runId, nowMs - 120 * minute));
    expect(permissionFor(fallen, mail, newPairsOccasion(4n, 1), policy, nowMs)).toBe('spent');
    const recent = [runAt('auto-mail-pairs-1-1', nowMs - 20 * minute)];
    expect(permissionFor(recent, mail, '2', policy, nowMs)).toEqual({ waitMs: 40 * minute });
  });
});
