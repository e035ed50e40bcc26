import { createHmac } from 'node:crypto';
import { sha256Hex } from './canonical.ts';

/**
 * The platform's secret that ids of prompts are keyed by, 32 bytes of chance. Undefined on a platform from before ids
 * had keys: then whoever knows an input can compute its id.
 */
export type IdKey = Uint8Array | undefined;

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

const ID_BYTES = 32;

/** Ids (hex) of prompts that travel as 32 bytes each; what is left over at the end is none. */
export function promptIdsOf(bytes: Uint8Array): string[] {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
  const digits = 2 * ID_BYTES;
  return Array.from({ length: Math.floor(hex.length / digits) }, (_, n) => hex.slice(n * digits, (n + 1) * digits));
}

/** The reverse of `promptIdsOf`. */
export const promptIdBytes = (ids: Iterable<string>): Uint8Array => Buffer.from([...ids].join(''), 'hex');
