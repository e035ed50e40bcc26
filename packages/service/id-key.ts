import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { readSecretFile } from './config.ts';
import { StartupError } from './errors.ts';

/** What the file holds on a platform that was there before ids had keys: its ids stay as they are. */
const UNKEYED = 'unkeyed';
/** 32 bytes in hex. */
const KEY = /^[0-9a-f]{64}$/;

/**
 * The secret in the file: 64 hex digits, or `unkeyed`. The error names the file, never its content.
 * @returns undefined where no file is named, or it says `unkeyed`
 * @throws StartupError when it cannot be read or holds anything else
 */
export const readIdKey = (file: string | undefined): Uint8Array | undefined => {
  if (file === undefined) return undefined;
  const text = readSecretFile(file, 'ID_KEY_FILE');
  if (text === UNKEYED) return undefined;
  if (KEY.test(text)) return Buffer.from(text, 'hex');
  throw new StartupError(
    `ID_KEY_FILE: expected 64 hex digits in ${file}, or the word ${UNKEYED} for a platform from before ids had keys`,
  );
};

/**
 * Makes the file where there is none, for its owner alone. It is never changed: every id that is kept hangs on it.
 * @param fresh nothing is kept yet; what is kept already has ids without a key, and stays so
 */
export const ensureIdKeyFile = (file: string, fresh: boolean): void => {
  if (existsSync(file)) return;
  writeFileSync(file, fresh ? randomBytes(32).toString('hex') : UNKEYED, { mode: 0o600, flag: 'wx' });
};
