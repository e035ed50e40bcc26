/** A Python for tests that see how others use what is made here: one that has the libraries, or a virtual environment with them. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const ENVIRONMENTS = join(import.meta.dirname, '..', '..', '.understudy');
/** A package index that is not there is given up on after this. */
const INSTALL_TIMEOUT_MS = 120_000;

/** The path of a Python with what was asked for, or why there is none. */
export type FoundPython = { readonly python: string } | { readonly missing: string };

async function has(python: string, modules: string): Promise<boolean> {
  return run(python, ['-c', `import ${modules}`]).then(
    () => true,
    () => false,
  );
}

/** A Python that imports these modules; failing that, one in an environment called `name` with these requirements installed. */
async function pythonWith(name: string, modules: string, requirements: readonly string[]): Promise<FoundPython> {
  const environment = join(ENVIRONMENTS, name);
  const own = join(environment, 'bin', 'python');
  for (const python of [process.env.PYTHON ?? 'python3', own]) if (await has(python, modules)) return { python };
  try {
    if (!existsSync(own)) await run('python3', ['-m', 'venv', environment]);
    const install = ['-m', 'pip', 'install', '--quiet', '--retries', '0', ...requirements];
    await run(own, install, { timeout: INSTALL_TIMEOUT_MS });
  } catch (error) {
    return { missing: `no Python with ${modules}: ${(error as Error).message.split('\n')[0]}` };
  }
  return (await has(own, modules)) ? { python: own } : { missing: `${own} cannot import ${modules}` };
}

/** A Python that can open bundles. */
export const pythonForBundles = (): Promise<FoundPython> =>
  pythonWith('python-for-tests', 'numpy, onnxruntime, tokenizers', ['numpy', 'onnxruntime>=1.20', 'tokenizers>=0.20']);

/** A Python with OpenAI's official client. */
export const pythonForOpenAi = (): Promise<FoundPython> => pythonWith('python-openai', 'openai', ['openai>=1.40']);
