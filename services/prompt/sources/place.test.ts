/** The same sources from a file and from an object in S3, where there is a server for it. */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { S3Settings } from '@understudy/service/blobs/s3-object';
import { startS3Server, whyNoS3Server } from '@understudy/service/blobs/s3-server';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { Client } from 'minio';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCsv } from './csv.ts';
import { readJsonl } from './jsonl.ts';
import { readLines } from './lines.ts';
import { readParquet } from './parquet.ts';
import { SourceError } from './source.ts';

const MEBIBYTE = 2 ** 20;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Bytes of the buffers that are still held: what waits for the collector depends on the machine's mood. */
function liveBufferBytes(): number {
  collectGarbage();
  // Buffers are freed beside the collection; the next one waits for that.
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

test('a line of 100 MB costs one record and next to no memory, and the rest is read', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'long-line-'));
  const path = join(folder, 'in.jsonl');
  const file = await open(path, 'w');
  await file.write('{"text":"first"}\n{"text":"');
  for (let i = 0; i < 100; i += 1) await file.write('x'.repeat(MEBIBYTE));
  await file.write('"}\n{"text":"last"}\n');
  await file.close();
  const before = liveBufferBytes();
  const held = Buffer.alloc(MEBIBYTE);
  expect(liveBufferBytes() - before, 'what is held is seen').toBeGreaterThanOrEqual(held.length);
  let peak = 0;
  let looks = 0;
  let watch: NodeJS.Timeout | undefined;
  // As long between two looks as one takes: looks at every chunk took half a minute on a busy machine.
  const look = () => {
    const beginMs = performance.now();
    looks += 1;
    peak = Math.max(peak, liveBufferBytes() - before);
    watch = setTimeout(look, performance.now() - beginMs);
  };
  watch = setTimeout(look);
  const records = await Array.fromAsync(readJsonl({ kind: 'jsonl', path }, ['text']));
  clearTimeout(watch);
  await rm(folder, { recursive: true });
  expect(records.map((record) => ('fault' in record ? record.fault : record.input.text))).toEqual([
    'first',
    `expected a line of at most ${MEBIBYTE} bytes, got ${100 * MEBIBYTE + 11}; shorten it`,
    'last',
  ]);
  // The longest line that is kept, and the chunks on their way: some MiB, and never the line.
  expect(looks).toBeGreaterThan(0);
  expect(peak).toBeLessThan(32 * MEBIBYTE);
});

test.each([
  ['jsonl', '\uFEFF{"text":"é"}\n', readJsonl],
  ['csv', '\uFEFFtext\né\n', readCsv],
  ['lines', '\uFEFFé\n', (source: never, [field]: string[]) => readLines(source, field ?? '')],
] as const)('%s: a byte order mark belongs to no record', async (kind, content, read) => {
  const folder = await mkdtemp(join(tmpdir(), 'bom-'));
  const path = join(folder, 'in');
  await writeFile(path, content);
  const records = await Array.fromAsync(read({ kind, path } as never, ['text']));
  await rm(folder, { recursive: true });
  expect(records).toMatchObject([{ input: { text: 'é' } }]);
});

const whyNotS3 = whyNoS3Server();
describe.skipIf(whyNotS3)(`objects in S3${whyNotS3 ? ` (${whyNotS3})` : ''}`, () => {
  let server: Awaited<ReturnType<typeof startS3Server>>;
  let client: Client;
  let s3: S3Settings;
  beforeAll(async () => {
    server = await startS3Server();
    const { hostname, port } = new URL(server.endpoint);
    const { accessKeyId: accessKey, secretAccessKey: secretKey } = server;
    client = new Client({ endPoint: hostname, port: Number(port), useSSL: false, accessKey, secretKey });
    s3 = { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey };
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const urlOf = (key: string) => `s3://${server.bucket}/${key}?endpoint=${server.endpoint}&region=us-east-1`;
  const put = async (key: string, content: string | Uint8Array) => {
    await client.putObject(server.bucket, key, Buffer.from(content));
    return urlOf(key);
  };

  test('are read like files, of every kind, and named without what follows the key', async () => {
    const rows = Array.from({ length: 6_000 }, (_, i) => `row ${i} ${'x'.repeat(40)}`);
    const jsonl = await put('some/in.jsonl', rows.map((text) => JSON.stringify({ text })).join('\n'));
    const csv = await put('in.csv', `text\n${rows.join('\n')}\n`);
    const lines = await put('in.txt', rows.join('\n'));
    const columnData = [{ name: 'text', data: rows, type: 'STRING' as const }];
    const parquet = await put('in.parquet', new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 2_500 })));
    for (const records of [
      readJsonl({ kind: 'jsonl', path: jsonl }, ['text'], s3),
      readCsv({ kind: 'csv', path: csv }, ['text'], s3),
      readLines({ kind: 'lines', path: lines }, 'text', s3),
      readParquet({ kind: 'parquet', path: parquet }, ['text'], s3),
    ]) {
      const all = await Array.fromAsync(records);
      expect(all.map((record) => 'input' in record && record.input.text)).toEqual(rows);
      expect(all[0]?.position).toMatch(/^s3:\/\/blobs\/(some\/)?in\.\w+:\d$/);
    }
  });

  test('that are not there, or may not be read, are refused as such; no secret is in the words', async () => {
    await put('in.txt', 'x\n');
    const read = (path: string, settings: S3Settings) =>
      Array.fromAsync(readLines({ kind: 'lines', path }, 'text', settings));
    await expect(read(urlOf('none.txt'), s3)).rejects.toThrow(
      /source s3:\/\/blobs\/none.txt: expected one input a line, but it cannot be read/,
    );
    await expect(read(urlOf('none.txt'), s3)).rejects.toThrow(SourceError);
    const wrong = { ...s3, AWS_SECRET_ACCESS_KEY: 'canary-of-a-secret' };
    const refused = await read(urlOf('in.txt'), wrong).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(SourceError);
    expect(String(refused)).not.toContain('canary');
    await expect(read(urlOf('in.txt'), {})).rejects.toThrow(SourceError);
    await expect(read('s3://key:canary@blobs/in.txt', s3)).rejects.toThrow(
      /without credentials, got "s3:\/\/…@blobs\/in.txt"/,
    );
  });

  test('whose server is away are no verdict about the source', async () => {
    const path = `s3://blobs/in.txt?endpoint=http://127.0.0.1:1&region=us-east-1`;
    const read = Array.fromAsync(readLines({ kind: 'lines', path }, 'text', s3));
    await expect(read).rejects.toMatchObject({ name: 'BlobError', retryable: true });
  });
});
