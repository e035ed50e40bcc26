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

/** What stands where a reply repeated the key. */
const MARK = '[key]';
/** A key that is shorter could be a word of an answer. */
const MIN_SECRET_CHARACTERS = 8;

/** Takes a secret out of what a server sends back, as it is and as it would be written in JSON, a URL or a Basic header. */
export const redactor = (secret: string | undefined) => {
  const forms =
    secret === undefined || secret.length < MIN_SECRET_CHARACTERS
      ? []
      : [
          ...new Set([
            secret,
            JSON.stringify(secret).slice(1, -1),
            encodeURIComponent(secret),
            Buffer.from(secret).toString('base64'),
          ]),
        ];
  const text = (given: string): string => forms.reduce((rest, form) => rest.replaceAll(form, MARK), given);
  return {
    text,
    bytes: (given: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> =>
      forms.some((form) => given.includes(form)) ? Buffer.from(text(given.toString())) : given,
  };
};
