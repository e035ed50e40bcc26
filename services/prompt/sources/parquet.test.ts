import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readParquet } from './parquet.ts';
import { SourceError } from './source.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parquet-'));
});
afterAll(() => rm(folder, { recursive: true }));

type Columns = Parameters<typeof parquetWriteBuffer>[0]['columnData'];
const read = async (bytes: Uint8Array, options = {}, fields = ['text']) => {
  const path = join(folder, 'in.parquet');
  await writeFile(path, bytes);
  const records = await Array.fromAsync(readParquet({ kind: 'parquet', path, ...options }, fields));
  return records.map((record) => ({ ...record, position: record.position.replace(`${folder}/`, '') }));
};
const fileOf = (columnData: Columns, options = {}) => new Uint8Array(parquetWriteBuffer({ columnData, ...options }));
const texts = (data: unknown[]): Columns[number] => ({ name: 'text', data, type: 'STRING' }) as Columns[number];

describe('parquet', () => {
  test('rows come in order over row groups, with names mapped, other columns passed over and nulls left out', async () => {
    const bytes = fileOf(
      [
        { name: 'body', data: ['a', 'b', null, 'd', 'é'], type: 'STRING' },
        { name: 'class', data: [0, 1, 0, null, 1], type: 'INT32' },
        { name: 'deep', data: [[1], [], [2], [3], [4]], type: 'JSON' },
      ] as Columns,
      { rowGroupSize: 2 },
    );
    const options = { fields: { text: 'body' }, reference: { field: 'class', map: { '0': 'ham', '1': 'spam' } } };
    expect(await read(bytes, options)).toEqual([
      { position: 'in.parquet:1', input: { text: 'a' }, reference: 'ham' },
      { position: 'in.parquet:2', input: { text: 'b' }, reference: 'spam' },
      { position: 'in.parquet:3', input: {}, reference: 'ham' },
      { position: 'in.parquet:4', input: { text: 'd' } },
      { position: 'in.parquet:5', input: { text: 'é' }, reference: 'spam' },
    ]);
  });

  test('of other codecs is read: zstd', async () => {
    const compressors = { ZSTD: (bytes: Uint8Array) => new Uint8Array(zstdCompressSync(bytes)) };
    const bytes = fileOf([texts(Array.from({ length: 500 }, (_, i) => `text ${i}`))], { codec: 'ZSTD', compressors });
    const records = await read(bytes);
    expect(records).toHaveLength(500);
    expect(records[499]).toEqual({ position: 'in.parquet:500', input: { text: 'text 499' } });
  });

  test('a value that is no UTF-8 costs its record alone', async () => {
    const bytes = fileOf([texts(['fine', 'x??x', 'fine too'])], { codec: 'UNCOMPRESSED' });
    const at = Buffer.from(bytes).indexOf('x??x');
    bytes[at + 1] = 0xff;
    expect(await read(bytes)).toEqual([
      { position: 'in.parquet:1', input: { text: 'fine' } },
      { position: 'in.parquet:2', fault: 'column text: expected UTF-8, got other bytes; convert them' },
      { position: 'in.parquet:3', input: { text: 'fine too' } },
    ]);
  });

  const good = () => fileOf([texts(['one', 'two'])]);
  test.each<[string, () => Uint8Array, RegExp]>([
    [
      'another column',
      () => fileOf([{ name: 'body', data: ['x'], type: 'STRING' }] as Columns),
      /expected the columns text, got body; add text, or name other columns under fields/,
    ],
    [
      'numbers',
      () => fileOf([{ name: 'text', data: [1, 2], type: 'INT32' }] as Columns),
      /column text: expected a flat column of text, got INT32; convert it to strings/,
    ],
    [
      'a list',
      () => listFile(),
      /column text: expected a flat column of text, got a nested one \(list, map or struct\); flatten it/,
    ],
    ['nothing', () => new Uint8Array(), /expected a Parquet file, got an empty file/],
    ['something else', () => new TextEncoder().encode('text\nand more of it\n'), /it does not begin with PAR1/],
    ['a file that is cut off', () => good().slice(0, -20), /it does not end with PAR1: it is cut off/],
    ['a few bytes', () => good().slice(0, 6), /it has only 6 bytes/],
    ['a footer that is noise', () => noise(good()), /cannot be read/],
    [
      'a codec that is not known here',
      () => fileOf([texts(['x'.repeat(500)])], { codec: 'LZ4', compressors: { LZ4: (b: Uint8Array) => b.slice(1) } }),
      /row group 1 cannot be read: .*LZ4/,
    ],
  ])('with %s is refused by name', async (_, bytes, message) => {
    const refused = read(bytes());
    await expect(refused).rejects.toThrow(SourceError);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toThrow(/in\.parquet/);
  });

  test('whatever bytes of a file are damaged, it is read or refused, never anything else', async () => {
    const bytes = fileOf([texts(Array.from({ length: 40 }, (_, i) => `text number ${i}`))]);
    for (let at = 0; at < bytes.length; at += 11) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] as number) ^ 0x5a;
      await read(damaged).catch((error: unknown) => expect(error, `byte ${at}`).toBeInstanceOf(SourceError));
    }
  });
});

function noise(bytes: Uint8Array): Uint8Array {
  const footer = new DataView(bytes.buffer).getUint32(bytes.length - 8, true);
  return bytes.fill(0xee, bytes.length - 8 - footer, bytes.length - 8);
}

function listFile(): Uint8Array {
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [{ name: 'text', data: [['a'], ['b', 'c']] }],
      schema: [
        { name: 'root', num_children: 1 },
        { name: 'text', repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL', converted_type: 'UTF8' },
      ],
    }),
  );
}
