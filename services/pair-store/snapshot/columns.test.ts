import { zstdDecompressSync } from 'node:zlib';
import { Purpose, Source } from '@understudy/contract';
import { collect, digestOf } from '@understudy/service/blobs/blob-store';
import { parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { openTable, parquetOf, type SnapshotRow } from './columns.ts';

const row = (n: number): SnapshotRow => ({
  pair_id: n.toString(16).padStart(64, '0'),
  prompt_id: 'a'.repeat(64),
  group_id: 'b'.repeat(64),
  split: (['train', 'dev', 'test'] as const)[n % 3]!,
  weight: n + 1,
  text: n === 0 ? '' : `text ${n} ☃ "quoted"\n\t\\`,
  input_json: JSON.stringify({ text: n }),
  answer_json: '{"label":"ham"}',
  soft: n % 4 === 0 ? '{}' : '{"label":[0.5,0.25,0.25]}',
  reference_json: n % 2 === 0 ? null : '{"label":"spam"}',
  purpose: Purpose.LABEL,
  source: Source.RANDOM,
  origin: 'mail.jsonl',
  fingerprint: 'c'.repeat(64),
  sample_number: 0,
  input_tokens: 1n,
  output_tokens: 2n,
  spent_micro_usd: 2n ** 40n,
  duration_us: BigInt(n),
  calls: 1,
  answered_at_us: 1_800_000_000_123_456n,
  settled: n === 7 ? 'd'.repeat(64) : '',
  salt: n.toString(16).padStart(32, '0'),
  erased_digest: null,
});

async function* chunksOf(rows: readonly SnapshotRow[], size: number) {
  for (let from = 0; from < rows.length; from += size) yield rows.slice(from, from + size);
}

const rows = Array.from({ length: 250 }, (_, n) => row(n));
const written = (size = 100) => collect(parquetOf(chunksOf(rows, size)));

describe('the table of a snapshot', () => {
  it('gives back every value, from any place', async () => {
    const { read } = await openTable(await written());
    expect(await read(0, 250)).toEqual(rows);
    expect(await read(95, 105)).toEqual(rows.slice(95, 105));
    expect(await read(250, 250)).toEqual([]);
  });

  it('is the same bytes for the same rows', async () => {
    expect(digestOf(await written())).toBe(digestOf(await written()));
  });

  it('can be empty', async () => {
    const { read } = await openTable(await collect(parquetOf(chunksOf([], 1))));
    expect(await read(0, 0)).toEqual([]);
  });

  it('is ordinary Parquet with zstd', async () => {
    const file = (await written()).buffer as ArrayBuffer;
    const metadata = await parquetMetadataAsync(file);
    expect(metadata.num_rows).toBe(250n);
    expect(metadata.row_groups.map(({ num_rows }) => num_rows)).toEqual([100n, 100n, 50n]);
    expect(metadata.row_groups.flatMap(({ columns }) => columns.map((column) => column.meta_data?.codec))).toEqual(
      new Array(3 * Object.keys(row(0)).length).fill('ZSTD'),
    );
    const compressors = { ZSTD: (bytes: Uint8Array) => zstdDecompressSync(bytes) };
    const columns = await parquetReadObjects({ file, columns: ['answer_json', 'weight'], compressors });
    expect(columns[249]).toEqual({ answer_json: '{"label":"ham"}', weight: 250 });
  });
});
