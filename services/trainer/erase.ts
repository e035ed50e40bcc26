import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Drops the features of texts that encoders gave, all of them: they are kept by token ids, which say nothing of prompts. The next training
 * asks the encoder again.
 */
export async function eraseFeatures(folder: string): Promise<number> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  for (const name of names) await rm(join(folder, name), { force: true });
  return names.length;
}
