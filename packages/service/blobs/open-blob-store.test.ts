import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { StartupError } from '../errors.ts';
import { openBlobStore } from './open-blob-store.ts';

const credentials = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret' };
const open = (BLOB_URL: string, more: object = credentials) =>
  openBlobStore({ DATA_DIR: '/nowhere', BLOB_URL, ...more });

/** A server that takes everything and remembers no condition, as several S3 look-alikes do. */
async function startForgetfulServer() {
  const server = createServer((request, response) => {
    request
      .resume()
      .on('end', () => response.writeHead(request.method === 'DELETE' ? 204 : 200, { etag: '"1"' }).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { endpoint, [Symbol.dispose]: () => void server.close() };
}

describe('BLOB_URL', () => {
  it('defaults to a folder in the data folder', async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'understudy-data-'));
    const store = await openBlobStore({ DATA_DIR: dataDir });
    expect(store.location).toBe(`file://${dataDir}/blobs`);
    await rm(dataDir, { recursive: true });
  });

  it.each([
    ['ftp://somewhere', /expected file:\/\/\//],
    ['blobs', /expected file:\/\/\//],
    ['file://relative/folder', /expected file:\/\/\/absolute\/folder/],
    ['s3://key:secret@bucket', /holds credentials/],
    ['s3://bucket?endpoint=127.0.0.1:9000', /expected endpoint=http/],
    ['s3://bucket?pathStyle=true', /'endpoint' and 'region' as only options/],
  ])('refuses %s', async (url, message) => {
    const opening = open(url);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toBeInstanceOf(StartupError);
  });

  it('asks for credentials by the names of their variables', async () => {
    await expect(open('s3://bucket', {})).rejects.toThrow(/AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/);
  });

  it('says which server cannot be reached', async () => {
    await expect(open('s3://bucket?endpoint=http://127.0.0.1:1')).rejects.toThrow(
      /s3:\/\/bucket at http:\/\/127.0.0.1:1.*ECONNREFUSED/,
    );
  });

  it('refuses a server that ignores If-None-Match', async () => {
    using server = await startForgetfulServer();
    await expect(open(`s3://bucket?endpoint=${server.endpoint}`)).rejects.toThrow(
      /ignores 'If-None-Match: \*'.*use a server that honours it/,
    );
  });
});
