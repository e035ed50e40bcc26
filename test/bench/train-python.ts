/** The Python that has PyTorch: given, made before, or made now. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const FOLDER = join(import.meta.dirname, '../../.understudy/bench-python');
/** Installing brings some gigabytes from PyPI. */
const INSTALL_TIMEOUT_MS = 20 * 60_000;
const PACKAGES = ['torch==2.15.0', 'numpy'];

export type Python = { readonly interpreter: string } | { readonly missing: string };

const lastLine = (error: unknown): string => {
  const { stderr, message } = error as Error & { stderr?: string };
  return (stderr || message).trim().split('\n').at(-1) as string;
};

async function hasTorch(interpreter: string): Promise<Python> {
  try {
    await run(interpreter, ['-c', 'import torch']);
    return { interpreter };
  } catch (error) {
    return { missing: `${interpreter} cannot import torch: ${lastLine(error)}` };
  }
}

/**
 * `UNDERSTUDY_BENCH_PYTHON` where it is set; else a virtual environment under `.understudy/`, which is made where PyPI can
 * be reached.
 */
export async function pythonWithTorch(): Promise<Python> {
  const given = process.env.UNDERSTUDY_BENCH_PYTHON;
  if (given) return await hasTorch(given);
  const interpreter = join(FOLDER, 'bin/python');
  if (existsSync(interpreter)) {
    const ready = await hasTorch(interpreter);
    if ('interpreter' in ready) return ready;
  }
  process.stderr.write(`installing ${PACKAGES.join(' and ')} from PyPI into .understudy/bench-python …\n`);
  try {
    await run('python3', ['-m', 'venv', FOLDER]);
    await run(interpreter, ['-m', 'pip', 'install', '--quiet', ...PACKAGES], { timeout: INSTALL_TIMEOUT_MS });
  } catch (error) {
    return { missing: `no PyTorch from PyPI: ${lastLine(error)}` };
  }
  return await hasTorch(interpreter);
}
