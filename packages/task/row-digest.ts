import { createHash } from 'node:crypto';
import { sha256Hex } from './canonical.ts';

/** Column that holds the digest of what an erased row was; null in rows that are whole. It is part of no digest. */
export const ERASED_DIGEST = 'erased_digest';

/**
 * SHA-256 (hex) of a row of a snapshot's table: of its columns by name, in alphabetical order, with their values as JSON; 64-bit integers as numbers,
 * absent values as null. One of the columns is chance (`salt`): whoever knows all the others cannot tell whether this was the row once that is erased.
 */
export function rowDigest(row: Readonly<Record<string, unknown>>, columns: readonly string[]): string {
  const names = columns.filter((name) => name !== ERASED_DIGEST).sort();
  return sha256Hex(JSON.stringify(names.map((name) => [name, plain(row[name])])));
}

const plain = (value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : (value ?? null));

/** Digest of a table: SHA-256 (hex) of the digests of its rows in their order, one a line. It outlives the erasure of rows. */
export class TableDigest {
  readonly #hash = createHash('sha256');

  add(digestOfRow: string): void {
    this.#hash.update(`${digestOfRow}\n`);
  }

  /** Of what was added so far. */
  hex(): string {
    return this.#hash.copy().digest('hex');
  }
}
