/** Where a snapshot's table is: under the digest that its manifest names, or, once rows of it were erased, where a note says. */
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { z } from 'zod';

/** What took the place of a table. A named object, because the manifest that names the table stays as it is. */
const Replacement = z.strictObject({
  version: z.literal(1),
  /** Digest of the table without the erased rows; null where the whole table had to go. */
  table: z.string().nullable(),
  erasedRows: z.int().min(0),
  /** `TableDigest` of what the table was. The manifest has the same, unless it is of the first format, which had none. */
  rowsDigest: z.string(),
});
export type Replacement = z.infer<typeof Replacement>;

const nameOf = (tableDigest: string): string => `erased/${tableDigest}.json`;

/** @param tableDigest as a manifest names it */
export async function replacementOf(blobs: BlobStore, tableDigest: string): Promise<Replacement | undefined> {
  const bytes = await blobs.getNamed(nameOf(tableDigest));
  return bytes && Replacement.parse(JSON.parse(new TextDecoder().decode(bytes)));
}

export function keepReplacement(blobs: BlobStore, tableDigest: string, replacement: Replacement): Promise<void> {
  return blobs.putNamed(nameOf(tableDigest), new TextEncoder().encode(JSON.stringify(replacement)));
}

/**
 * The file that stands for a table now.
 * @throws BlobError `not-found` where it is neither there nor replaced, or was erased as a whole
 */
export async function tableBytes(blobs: BlobStore, tableDigest: string): Promise<Uint8Array> {
  for (let current = await placeOf(blobs, tableDigest); ; ) {
    try {
      return await blobs.get('snapshots', current);
    } catch (error) {
      if (!(error instanceof BlobError && error.code === 'not-found')) throw error;
      // It may have been replaced between the note and the file.
      const next = await placeOf(blobs, tableDigest);
      if (next === current) throw error;
      current = next;
    }
  }
}

async function placeOf(blobs: BlobStore, tableDigest: string): Promise<string> {
  const replacement = await replacementOf(blobs, tableDigest);
  if (replacement === undefined) return tableDigest;
  if (replacement.table !== null) return replacement.table;
  throw new BlobError(
    'not-found',
    `the table ${tableDigest} held forgotten inputs, was of an old format, and is erased`,
  );
}
