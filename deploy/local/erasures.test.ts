import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SupervisorEvent } from '@understudy/cli/platform';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Erasures } from './erasures.ts';

test('every few minutes what was not erased is tried again, on this data folder; what comes of it is in a log', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-erasures-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'logs'));
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const erasures = new Erasures(folder, () => {});
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

test('where no process can be started that is said, and tried again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-erasures-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const said: SupervisorEvent[] = [];
  const erasures = new Erasures(folder, (event) => said.push(event));
  const node = process.execPath;
  onTestFinished(() => {
    process.execPath = node;
  });
  erasures.start();
  vi.advanceTimersByTime(300_000);
  expect(said).toMatchObject([{ name: 'erasures', reason: expect.stringMatching(/ENOENT.*erasures\.log/) }]);
  mkdirSync(join(folder, 'logs'));
  process.execPath = join(folder, 'no-node');
  vi.advanceTimersByTime(300_000);
  await expect.poll(() => said).toHaveLength(2);
  expect(said[1]).toMatchObject({ name: 'erasures', reason: expect.stringMatching(/no-node ENOENT/) });
  const goOn = () => {
    vi.advanceTimersByTime(300_000);
    return said.length;
  };
  await expect.poll(goOn).toBeGreaterThan(2);
  await erasures.stop();
});
