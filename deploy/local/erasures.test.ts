import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Erasures } from './erasures.ts';

test('every few minutes what was not erased is tried again, on this data folder; what comes of it is in a log', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-erasures-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'logs'));
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const erasures = new Erasures(folder);
  erasures.start();
  await erasures.stop();
  vi.advanceTimersByTime(3_600_000);
  erasures.start();
  vi.advanceTimersByTime(300_000);
  const read = () => readFileSync(join(folder, 'logs', 'erasures.log'), 'utf8');
  await expect.poll(read).toContain('npm run up');
  await erasures.stop();
  const log = read();
  expect(log.split('no platform runs on').length, 'once, and not while it was stopped').toBe(2);
  expect(log).toContain(folder);
});
