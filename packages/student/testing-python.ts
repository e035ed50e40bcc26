/** A Python for tests that open bundles with it: one that has onnxruntime and tokenizers, or a virtual environment with them. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const NEEDED = 'import numpy, onnxruntime, tokenizers';
const REQUIREMENTS = ['numpy', 'onnxruntime>=1.20', 'tokenizers>=0.20'];
const ENVIRONMENT = join(import.meta.dirname, '..', '..', '.understudy', 'python-for-tests');
/** A package index that is not there is given up on after this. */
const INSTALL_TIMEOUT_MS = 120_000;

async function has(python: string): Promise<boolean> {
  return run(python, ['-c', NEEDED]).then(
    () => true,
    () => false,
  );
}

/** The path of a Python that can open bundles, or why there is none. */
export async function pythonForBundles(): Promise<{ readonly python: string } | { readonly missing: string }> {
  const own = join(ENVIRONMENT, 'bin', 'python');
  for (const python of [process.env.PYTHON ?? 'python3', own]) if (await has(python)) return { python };
  try {
    if (!existsSync(own)) await run('python3', ['-m', 'venv', ENVIRONMENT]);
    const install = ['-m', 'pip', 'install', '--quiet', '--retries', '0', ...REQUIREMENTS];
    await run(own, install, { timeout: INSTALL_TIMEOUT_MS });
  } catch (error) {
    return { missing: `no Python with onnxruntime and tokenizers: ${(error as Error).message.split('\n')[0]}` };
  }
  return { python: own };
}
