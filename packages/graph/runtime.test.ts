import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('the runtime starts no telemetry: it would leave a log in the folder for temporary files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-runtime-'));
  const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env;
  const runtime = JSON.stringify(join(import.meta.dirname, 'runtime.ts'));
  const program = `import { InferenceSession } from ${runtime}; await InferenceSession.create(new Uint8Array(1)).catch(() => {});`;
  try {
    execFileSync(process.execPath, ['--input-type=module', '-e', program], { env: { ...env, TMPDIR: folder } });
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
