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

/** A character in text that may be JSON within JSON: however often it was escaped. */
const written = (character: string): string => {
  const literal = character.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&');
  return /["\\/]/.test(character) ? `\\\\*${literal}` : literal;
};

/** Takes a secret out of what a server sends back, as it is and as it would be written in JSON, a URL or a header of another kind. */
export const redactor = (secret: string | undefined) => {
  if (secret === undefined || secret.length < MIN_SECRET_CHARACTERS) {
    return { text: (given: string) => given, bytes: (given: Buffer<ArrayBuffer>) => given };
  }
  const forms = [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')];
  const pattern = new RegExp([...new Set(forms)].map((form) => [...form].map(written).join('')).join('|'), 'g');
  const text = (given: string): string => given.replace(pattern, MARK);
  // Nearly all replies repeat nothing, and are passed on as they came.
  const bytes = (given: Buffer<ArrayBuffer>) => {
    const shown = given.toString();
    const told = text(shown);
    return told === shown ? given : Buffer.from(told);
  };
  return { text, bytes };
};
