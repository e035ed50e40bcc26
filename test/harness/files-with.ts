import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Of grep: some, none, and some that were gone by the time it came to them. */
const looked = [0, 1, 2];

/** Files under a folder, by their paths in it, that hold these bytes. The folder may be in use: a file that goes meanwhile is none. */
export const filesWith = async (folder: string, bytes: string): Promise<string[]> => {
  const grep = promisify(execFile)('grep', ['-rlsF', '--', bytes, '.'], { cwd: folder });
  const { stdout } = await grep.catch((error) => {
    if (looked.includes(error.code)) return error as { stdout: string };
    throw error;
  });
  return stdout.split('\n').flatMap((path) => (path === '' ? [] : [path.replace('./', '')]));
};
