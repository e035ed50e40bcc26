import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { StartupError } from './errors.ts';
import { ensureIdKeyFile, readIdKey } from './id-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'understudy-id-key-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a key is made once, for its owner alone, and read back', () => {
  const file = join(folder, 'fresh');
  ensureIdKeyFile(file, true);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const key = readIdKey(file);
  expect(key).toHaveLength(32);
  ensureIdKeyFile(file, true);
  ensureIdKeyFile(file, false);
  expect(readIdKey(file)).toEqual(key);
  const other = join(folder, 'other');
  ensureIdKeyFile(other, true);
  expect(readFileSync(other, 'utf8')).not.toBe(readFileSync(file, 'utf8'));
});

test('what was there before ids had keys goes on without one', () => {
  const file = join(folder, 'old');
  ensureIdKeyFile(file, false);
  expect(readIdKey(file)).toBeUndefined();
  expect(readIdKey(undefined)).toBeUndefined();
});

test.each(['', 'abc', 'f'.repeat(63), 'F'.repeat(64)])('no key: %j; the message does not tell it', (content) => {
  const file = join(folder, 'bad');
  writeFileSync(file, content);
  expect(() => readIdKey(file)).toThrow(StartupError);
  if (content !== '') expect(() => readIdKey(file)).not.toThrow(content);
});
