/** The contract of a blob store, run against each implementation: a folder, and a real S3 server where there is one. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client } from 'minio';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BlobError, type BlobStore, boundedChunks, collect, digestOf, MAX_BLOB_BYTES } from './blob-store.ts';
import { openBlobStore } from './open-blob-store.ts';
import { startS3Server, whyNoS3Server } from './s3-server.ts';

interface Place extends AsyncDisposable {
  /** A further, independent store over the same place, as another process would have. */
  open(): Promise<BlobStore>;
  /** Overwrites an object behind the store's back. */
  overwrite(key: string, bytes: Uint8Array): Promise<void>;
}

async function folderPlace(): Promise<Place> {
  const root = await mkdtemp(path.join(tmpdir(), 'understudy-blobs-'));
  return {
    open: () => openBlobStore({ DATA_DIR: '/nowhere', BLOB_URL: pathToFileURL(root).href }),
    overwrite: (key, bytes) => writeFile(path.join(root, key), bytes),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

async function s3Place(): Promise<Place> {
  const server = await startS3Server();
  const { hostname, port } = new URL(server.endpoint);
  const credentials = { accessKey: server.accessKeyId, secretKey: server.secretAccessKey };
  const client = new Client({ endPoint: hostname, port: Number(port), useSSL: false, ...credentials });
  return {
    open: () =>
      openBlobStore({
        DATA_DIR: '/nowhere',
        BLOB_URL: `s3://${server.bucket}/some/prefix?endpoint=${server.endpoint}&region=us-east-1`,
        AWS_ACCESS_KEY_ID: server.accessKeyId,
        AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
      }),
    overwrite: async (key, bytes) => {
      await client.putObject(server.bucket, `some/prefix/${key}`, Buffer.from(bytes));
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const whyNotS3 = whyNoS3Server();
const text = (content: string) => new TextEncoder().encode(content);
const code = (expected: string) => expect.objectContaining({ name: 'BlobError', code: expected });

describe.each([
  { name: 'a folder', start: folderPlace, skip: undefined },
  { name: `S3${whyNotS3 ? ` (skipped: ${whyNotS3})` : ''}`, start: s3Place, skip: whyNotS3 },
])('blobs in $name', ({ start, skip }) => {
  if (skip) return it.skip(skip);
  let place: Place;
  let store: BlobStore;

  beforeAll(async () => {
    place = await start();
    store = await place.open();
  });

  afterAll(async () => {
    await store?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
  });

  it.each([0, 1, 3_000_001])('returns the %i bytes it was given', async (length) => {
    const bytes = new Uint8Array(length).map((_, index) => (index * 31) % 251);
    const digest = await store.put('snapshots', bytes);
    expect(digest).toBe(digestOf(bytes));
    expect(Buffer.compare(await store.get('snapshots', digest), bytes)).toBe(0);
    expect(await store.has('snapshots', digest)).toBe(true);
  });

  it('takes a blob away, once or twice, and nothing else', async () => {
    const [gone, stays] = [await store.put('snapshots', text('gone')), await store.put('snapshots', text('stays'))];
    await store.remove('snapshots', gone);
    await store.remove('snapshots', gone);
    await store.remove('nothing-of-this-kind', gone);
    expect(await store.has('snapshots', gone)).toBe(false);
    await expect(store.get('snapshots', gone)).rejects.toEqual(code('not-found'));
    expect(await store.get('snapshots', stays)).toEqual(text('stays'));
    expect(await store.put('snapshots', text('gone'))).toBe(gone);
    await expect(store.remove('snapshots', '../x')).rejects.toEqual(code('bad-key'));
  });

  it('keeps a stream under the digest of all of it', async () => {
    const digest = await store.put(
      'snapshots',
      (async function* () {
        yield text('one, ');
        yield text('two');
      })(),
    );
    expect(digest).toBe(digestOf(text('one, two')));
    expect(Buffer.from(await collect(store.read('snapshots', digest))).toString()).toBe('one, two');
  });

  it('keeps nothing of a stream that fails', async () => {
    const broken = (async function* () {
      yield text('first half');
      throw new Error('the source broke');
    })();
    await expect(store.put('snapshots', broken)).rejects.toThrow('the source broke');
    expect(await store.has('snapshots', digestOf(text('first half')))).toBe(false);
  });

  it('says not-found for what nobody put, and keeps kinds apart', async () => {
    const digest = await store.put('manifests', text('only a manifest'));
    await expect(store.get('snapshots', digest)).rejects.toEqual(code('not-found'));
    expect(await store.has('snapshots', digest)).toBe(false);
  });

  it('lists the blobs of a kind by how their digests begin', async () => {
    const listed = (kind: string, prefix: string) => Array.fromAsync(store.list(kind, prefix));
    const digests = await Promise.all(['a', 'b', 'c'].map((content) => store.put('listed', text(content))));
    expect((await listed('listed', '')).sort()).toEqual(digests.toSorted());
    expect(await listed('listed', digests[0]!.slice(0, 8))).toEqual([digests[0]]);
    expect(await listed('listed', digests[1]!)).toEqual([digests[1]]);
    expect(await listed('listed', '../')).toEqual([]);
    expect(await listed('never-put', '')).toEqual([]);
    await expect(listed('..', '')).rejects.toEqual(code('bad-key'));
  });

  it('refuses to return damaged bytes', async () => {
    const digest = await store.put('reports', text('what was written'));
    await place.overwrite(`reports/${digest}`, text('what a broken disk made of it'));
    await expect(store.get('reports', digest)).rejects.toEqual(code('corrupt'));
  });

  it('lets many writers race for one blob', async () => {
    const bytes = new Uint8Array(200_000).fill(7);
    const stores = await Promise.all(Array.from({ length: 4 }, () => place.open()));
    const digests = await Promise.all([...stores, ...stores].map((racer) => racer.put('students', bytes)));
    expect(new Set(digests)).toEqual(new Set([digestOf(bytes)]));
    expect((await store.get('students', digestOf(bytes))).length).toBe(bytes.length);
    for (const racer of stores) await racer[Symbol.asyncDispose]();
  });

  it.each(['../snapshots', 'a/b', '', 'named', '.partial', 'UPPER', 'a'.repeat(33)])(
    'refuses the kind %j',
    async (kind) => {
      await expect(store.put(kind, text('x'))).rejects.toEqual(code('bad-key'));
      await expect(store.get(kind, digestOf(text('x')))).rejects.toEqual(code('bad-key'));
    },
  );

  it.each(['', '../../etc/passwd', 'ABC', `${'a'.repeat(63)}/`, 'g'.repeat(64)])(
    'refuses the digest %j',
    async (digest) => {
      await expect(store.get('snapshots', digest)).rejects.toEqual(code('bad-key'));
      await expect(store.has('snapshots', digest)).rejects.toEqual(code('bad-key'));
    },
  );

  it.each(['', '..', '../x', 'a/../b', '/a', 'a//b', '.hidden', 'a/', 'a\\b', 'a\0b'])(
    'refuses the name %j',
    async (name) => {
      await expect(store.putNamed(name, text('x'))).rejects.toEqual(code('bad-key'));
      await expect(store.getNamed(name)).rejects.toEqual(code('bad-key'));
      await expect(store.removeNamed(name)).rejects.toEqual(code('bad-key'));
    },
  );

  it('replaces and forgets named objects', async () => {
    expect(await store.getNamed('checkpoints/run-1')).toBeUndefined();
    await store.putNamed('checkpoints/run-1', text('step 1'));
    await store.putNamed('checkpoints/run-1', text('step 2'));
    expect(Buffer.from((await store.getNamed('checkpoints/run-1')) ?? []).toString()).toBe('step 2');
    await store.removeNamed('checkpoints/run-1');
    await store.removeNamed('checkpoints/run-1');
    expect(await store.getNamed('checkpoints/run-1')).toBeUndefined();
  });

  it('never shows a mix of an old and a new named object', async () => {
    const versions = [1, 2, 3, 4, 5, 6].map((value) => new Uint8Array(300_000).fill(value));
    await store.putNamed('checkpoints/raced', versions[0]!);
    let writing = true;
    const writers = Promise.all(versions.map((version) => store.putNamed('checkpoints/raced', version))).finally(() => {
      writing = false;
    });
    const seen: Uint8Array[] = [];
    while (writing) seen.push((await store.getNamed('checkpoints/raced')) ?? new Uint8Array());
    await writers;
    seen.push((await store.getNamed('checkpoints/raced')) ?? new Uint8Array());
    for (const bytes of seen) {
      expect(bytes.length).toBe(300_000);
      expect(bytes.every((value) => value === bytes[0])).toBe(true);
    }
  });

  it('refuses what is over the limit', async () => {
    const tooLarge = new Uint8Array(MAX_BLOB_BYTES + 1);
    await expect(store.put('snapshots', tooLarge)).rejects.toEqual(code('too-large'));
    await expect(store.putNamed('checkpoints/huge', tooLarge)).rejects.toEqual(code('too-large'));
  });
});

describe('limits', () => {
  it('stops a stream as soon as it is over the limit', async () => {
    const chunk = new Uint8Array(MAX_BLOB_BYTES / 4);
    let sent = 0;
    const endless = (async function* () {
      for (;;) {
        sent += 1;
        yield chunk;
      }
    })();
    const reading = (async () => {
      for await (const _chunk of boundedChunks(endless, 'an endless stream'));
    })();
    await expect(reading).rejects.toBeInstanceOf(BlobError);
    expect(sent).toBe(5);
  });
});
