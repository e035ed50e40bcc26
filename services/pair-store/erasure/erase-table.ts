/** A snapshot's table without some of its rows: in their place stand the digests of what they were. */
import { randomBytes } from 'node:crypto';
import { ERASED_DIGEST, rowDigest, TableDigest } from '@understudy/task/row-digest';
import type { SchemaElement } from 'hyparquet-writer';
import { ROW_GROUP_PAIRS } from '../limits.ts';
import { parquetOf, type SnapshotRow, type Table } from '../snapshot/columns.ts';

/** What stays of an erased row: keyed ids, and what the manifest counts. */
const KEPT: ReadonlySet<string> = new Set([
  ...['pair_id', 'prompt_id', 'group_id', 'split', 'fingerprint', 'sample_number', 'purpose', 'source', 'origin'],
  ERASED_DIGEST,
]);
const SALT_BYTES = 16;

const textColumn = (name: string): SchemaElement => ({
  name,
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  repetition_type: 'OPTIONAL',
});

export interface TouchedRows {
  readonly train: number;
  readonly dev: number;
  readonly test: number;
}

export interface RowsAbout {
  readonly touched: TouchedRows;
  readonly pairIds: readonly string[];
  /** Those that are not erased yet. */
  readonly whole: number;
}

/** Rows of a table that are about some prompts, erased earlier or not. */
export async function rowsAbout(table: Table, promptIds: ReadonlySet<string>): Promise<RowsAbout> {
  const touched = { train: 0, dev: 0, test: 0 };
  const pairIds: string[] = [];
  let whole = 0;
  for await (const rows of chunksOf(table)) {
    for (const row of rows) {
      if (!promptIds.has(row.prompt_id)) continue;
      touched[row.split] += 1;
      pairIds.push(row.pair_id);
      if (!isErased(row)) whole += 1;
    }
  }
  return { touched, pairIds, whole };
}

export const isErased = (row: SnapshotRow): boolean => typeof row.erased_digest === 'string';

/** Written while it is read; `rowsDigest` and `erasedRows` are known at its end. */
export interface ErasedTable {
  readonly content: AsyncIterable<Uint8Array>;
  rowsDigest(): string;
  erasedRows(): number;
}

/**
 * The table with the rows of some prompts erased. A table of the first format, without chance in its rows, gets some on this occasion.
 * @param columns of the table
 */
export function erasedTable(
  table: Table,
  columns: readonly SchemaElement[],
  promptIds: ReadonlySet<string>,
): ErasedTable {
  const missing = ['salt', ERASED_DIGEST].filter((name) => !columns.some((column) => column.name === name));
  const all = [...columns, ...missing.map(textColumn)];
  const names = all.map(({ name }) => name);
  const digest = new TableDigest();
  let erasedRows = 0;
  const salts = new Map<string, string>();
  const saltOf = ({ prompt_id, salt }: SnapshotRow): string => {
    const known = salt ?? salts.get(prompt_id) ?? randomBytes(SALT_BYTES).toString('hex');
    salts.set(prompt_id, known);
    return known;
  };
  async function* rewritten(): AsyncGenerator<SnapshotRow[]> {
    for await (const rows of chunksOf(table)) {
      yield rows.map((row) => {
        const whole = isErased(row) ? row : { ...row, salt: saltOf(row), erased_digest: null };
        const digestOfRow = whole.erased_digest ?? rowDigest({ ...whole }, names);
        digest.add(digestOfRow);
        const erased = isErased(row) || promptIds.has(row.prompt_id);
        if (erased) erasedRows += 1;
        return erased ? tombstone(whole, all, digestOfRow) : whole;
      });
    }
  }
  return { content: parquetOf(rewritten(), all), rowsDigest: () => digest.hex(), erasedRows: () => erasedRows };
}

/** The row with its digest, and everything that came of the input gone. */
function tombstone(row: SnapshotRow, columns: readonly SchemaElement[], erasedDigest: string): SnapshotRow {
  const blank = columns.filter(({ name }) => !KEPT.has(name)).map((column) => [column.name, blankOf(column)]);
  return { ...row, ...Object.fromEntries(blank), erased_digest: erasedDigest };
}

function blankOf({ type, repetition_type }: SchemaElement): unknown {
  if (repetition_type === 'OPTIONAL') return null;
  return type === 'BYTE_ARRAY' ? '' : 0;
}

async function* chunksOf(table: Table): AsyncGenerator<SnapshotRow[]> {
  for (let from = 0; from < table.rows; from += ROW_GROUP_PAIRS) {
    yield await table.read(from, Math.min(from + ROW_GROUP_PAIRS, table.rows));
  }
}
