import { createHmac } from 'node:crypto';
import { sha256Hex } from './canonical.ts';

/**
 * The platform's secret that ids of prompts are keyed by, at least MIN_ID_KEY_BYTES of chance. Undefined on a platform from before ids
 * had keys: then whoever knows an input can compute its id.
 */
export type IdKey = Uint8Array | undefined;

/** Below this a key could be guessed, and with it every input that somebody can think of. */
export const MIN_ID_KEY_BYTES = 32;

/**
 * Id of a prompt (64 hex digits): HMAC-SHA-256 of task name and canonical input under the key, their SHA-256 where there is none. The one
 * place where such an id is made.
 */
export function promptIdOf(task: string, inputJson: string, key: IdKey): string {
  const content = `${task}\n${inputJson}`;
  return key === undefined ? sha256Hex(content) : createHmac('sha256', key).update(content).digest('hex');
}

/** Tells keys apart without telling them: a few digits of a keyed constant; `unkeyed` where there is none. */
export function idKeyName(key: IdKey): string {
  if (key === undefined) return 'unkeyed';
  return createHmac('sha256', key).update('name of an id key').digest('hex').slice(0, 16);
}
