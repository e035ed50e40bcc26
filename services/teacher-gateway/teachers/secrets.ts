import { readFileSync } from 'node:fs';
import { messageOf } from '@understudy/service/errors';
import { TeacherError } from './teacher.ts';

/**
 * The key that a task names; undefined when it names none. Messages name the variable or file, never what it holds.
 * @throws TeacherError (`unauthorized`) when what it names is missing or empty
 */
export const apiKeyOf = (
  settings: { apiKeyEnv?: string | undefined; apiKeyFile?: string | undefined },
  env: NodeJS.ProcessEnv,
): string | undefined => {
  if (settings.apiKeyEnv) {
    const key = env[settings.apiKeyEnv]?.trim();
    if (key) return key;
    throw new TeacherError(
      'unauthorized',
      `the environment variable ${settings.apiKeyEnv} (teacher.apiKeyEnv) is not set for the teacher-gateway`,
    );
  }
  if (!settings.apiKeyFile) return undefined;
  let key: string;
  try {
    key = readFileSync(settings.apiKeyFile, 'utf8').trim();
  } catch (cause) {
    throw new TeacherError(
      'unauthorized',
      `cannot read ${settings.apiKeyFile} (teacher.apiKeyFile): ${messageOf(cause)}`,
      { cause },
    );
  }
  if (key === '') throw new TeacherError('unauthorized', `${settings.apiKeyFile} (teacher.apiKeyFile) is empty`);
  return key;
};
