import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  blockageOf,
  type Health,
  opened,
  parseHealth,
  paused,
  probeDropped,
  probed,
  probeFailed,
  recovered,
  type Trouble,
} from './health.ts';

const well = parseHealth(undefined);
const down: Trouble = { failure: 'overloaded', detail: 'it fell over', retryAfterMs: undefined };
const refused: Trouble = { failure: 'unauthorized', detail: 'no such key', retryAfterMs: undefined };

describe('a pause that the teacher asked for', () => {
  test('holds everybody back until it is over', () => {
    const health = paused(well, 1_000, 500)!;
    expect(blockageOf(health, 1_499)).toMatchObject({ open: false, waitMs: 1, failure: 'rate-limited' });
    expect(blockageOf(health, 1_500)).toBeUndefined();
  });

  test('is not shortened by one that is shorter, and told once', () => {
    const health = paused(well, 0, 500)!;
    expect(paused(health, 0, 400)).toBeUndefined();
    expect(paused(health, 0, 600)).toMatchObject({ turn: 2, pausedUntilMs: 600 });
  });

  test('is no longer than an hour, whatever it asks for', () => {
    expect(paused(well, 0, 1e15)!.pausedUntilMs).toBe(3_600_000);
  });
});

describe('the breaker', () => {
  test('lets one replica try when its time has come, then another if nothing comes of it', () => {
    const health = opened(well, 0, down)!;
    expect(probed(health, 999, 'a', 100)).toBeUndefined();
    const trying = probed(health, 1_000, 'a', 100)!;
    expect(probed(trying, 1_099, 'b', 100)).toBeUndefined();
    expect(probed(trying, 1_100, 'b', 100)).toBeDefined();
  });

  test('closes when a try succeeds, and waits twice as long after each that fails, up to a minute', () => {
    let health = opened(well, 0, down)!;
    const waits: number[] = [];
    for (let nowMs = 0; waits.length < 9; ) {
      nowMs += blockageOf(health, nowMs)!.waitMs;
      health = probeFailed(probed(health, nowMs, 'a', 100)!, nowMs, 'a', down)!;
      waits.push(blockageOf(health, nowMs)!.waitMs / 1_000);
      expect(blockageOf(health, nowMs)).toMatchObject({ open: true, awayMs: nowMs, detail: 'it fell over' });
    }
    expect(waits).toEqual([2, 4, 8, 16, 32, 60, 60, 60, 60]);
    expect(blockageOf(recovered(health, 1e6)!, 1e6)).toBeUndefined();
  });

  test('waits longer from the start where credentials were refused', () => {
    expect(blockageOf(opened(well, 0, refused)!, 0)).toMatchObject({ waitMs: 10_000, failure: 'unauthorized' });
  });

  test('heeds Retry-After of the failure that opened it, and of a try', () => {
    const health = opened(well, 0, { ...down, retryAfterMs: 30_000 })!;
    expect(blockageOf(health, 0)!.waitMs).toBe(30_000);
    const again = probeFailed(probed(health, 30_000, 'a', 9)!, 30_000, 'a', { ...down, retryAfterMs: 90_000 })!;
    expect(blockageOf(again, 30_000)!.waitMs).toBe(90_000);
  });

  test('a report that comes late, or twice, changes nothing', () => {
    const health = opened(well, 0, down)!;
    expect(opened(health, 5, refused)).toBeUndefined();
    const another = probed(probed(health, 1_000, 'a', 100)!, 1_100, 'b', 100)!;
    expect(probeFailed(another, 1_200, 'a', down)).toBeUndefined();
    expect(probeDropped(another, 1_200, 'a')).toBeUndefined();
    expect(recovered(well, 0)).toBeUndefined();
  });

  test('a try that was not made leaves it to the next at once', () => {
    const trying = probed(opened(well, 0, down)!, 1_000, 'a', 100_000)!;
    expect(probed(probeDropped(trying, 1_000, 'a')!, 1_000, 'b', 100)).toBeDefined();
  });
});

test('a damaged value counts as a teacher that is well', () => {
  for (const text of ['', '{}', '{"turn":-1}', '[]', 'null', JSON.stringify({ ...well, turn: 'x' })]) {
    expect(parseHealth(text)).toEqual(well);
  }
});

test('whatever happens in whatever order, never two try at once, and there is always a time when one may', () => {
  const replica = fc.constantFrom('a', 'b', 'c');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(70_000) }),
    fc.record({ kind: fc.constantFrom('opened', 'paused', 'probed', 'failed', 'dropped', 'recovered'), replica }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let health: Health = well;
      let nowMs = 0;
      let trying: { replica: string; untilMs: number } | undefined;
      for (const one of steps) {
        if ('ms' in one) {
          nowMs += one.ms;
          continue;
        }
        const { kind, replica: who } = one;
        const before = health;
        if (kind === 'opened') health = opened(health, nowMs, down) ?? health;
        if (kind === 'paused') health = paused(health, nowMs, 5_000) ?? health;
        if (kind === 'failed') health = probeFailed(health, nowMs, who, down) ?? health;
        if (kind === 'dropped') health = probeDropped(health, nowMs, who) ?? health;
        if (kind === 'recovered') health = recovered(health, nowMs) ?? health;
        if (kind === 'probed') {
          const next = probed(health, nowMs, who, 1_000);
          if (next) {
            expect(trying && trying.untilMs > nowMs && health.breaker?.probe).toBeFalsy();
            trying = { replica: who, untilMs: nowMs + 1_000 };
            health = next;
          }
        }
        expect(health.turn).toBe(health === before ? before.turn : before.turn + 1);
        expect(parseHealth(JSON.stringify(health))).toEqual(JSON.parse(JSON.stringify(health)));
        expect(blockageOf(health, nowMs)?.waitMs ?? 0).toBeLessThanOrEqual(60_000);
      }
    }),
  );
});
