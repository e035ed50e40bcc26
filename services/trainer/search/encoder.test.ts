import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { byteTokenizerFiles } from '@understudy/student/tokenizer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pinEncoder } from './encoder.ts';

const COMMIT = 'c'.repeat(40);
const HUB = `acme/tiny-bert@${COMMIT}`;
const MODEL = new URL('../../../packages/graph/fixtures/bert-torchscript-14.onnx', import.meta.url);

/** A hub of one repository, which counts what it is asked for. */
class Hub {
  readonly files = new Map<string, string | Uint8Array>();
  readonly asked: string[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const path = request.url ?? '';
      this.asked.push(path);
      const file = this.files.get(path.replace(`/acme/tiny-bert/resolve/${COMMIT}/`, ''));
      if (file === undefined) response.writeHead(404).end('Entry not found');
      else response.end(file);
    });
  }

  async listen(): Promise<void> {
    const { json, config } = byteTokenizerFiles();
    this.files.set('config.json', JSON.stringify({ model_type: 'bert', architectures: ['BertModel'] }));
    this.files.set('tokenizer.json', JSON.stringify(json));
    this.files.set('tokenizer_config.json', JSON.stringify(config));
    this.files.set('onnx/model.onnx', await readFile(MODEL));
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

let hub: Hub;
let folder: string;
let blobs: BlobStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'understudy-encoders-'));
  blobs = await openBlobStore({ DATA_DIR: folder });
  hub = new Hub();
  await hub.listen();
});
afterEach(async () => {
  await hub.close();
  await blobs[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const { signal } = new AbortController();

/** As a machine does that keeps its encoders in a folder of its own. */
const pin = (machine = 'one') =>
  pinEncoder({ hub: HUB, train: 'all' }, { blobs, hubUrl: hub.url, encodersFolder: join(folder, machine), signal });

describe('an encoder of a hub', () => {
  it('is fetched once by each machine, to the same content', async () => {
    const first = await pin();
    expect(first).toMatchObject({ digest: expect.stringMatching(/^[0-9a-f]{64}$/), modelBytes: expect.any(Number) });
    const { length } = hub.asked;
    expect(await pin()).toEqual(first);
    expect(hub.asked.length).toBe(length);
    const other = await pin('two');
    expect(hub.asked.length).toBe(2 * length);
    expect(other).toEqual({ ...first, folder: join(folder, 'two', `acme--tiny-bert@${COMMIT}`) });
  });

  it('may keep its graph where older exports do', async () => {
    const model = hub.files.get('onnx/model.onnx')!;
    hub.files.delete('onnx/model.onnx');
    hub.files.set('model.onnx', model);
    expect(await pin()).toMatchObject({ modelBytes: model.length });
  });

  it('is refused when it is not what was fetched first', async () => {
    await pin();
    hub.files.set('config.json', JSON.stringify({ model_type: 'roberta' }));
    expect(await pin('two')).toEqual({
      unusable: expect.stringContaining('when it was first fetched; it is not used'),
    });
  });

  it('that lacks a file is named with it, and nothing half-fetched stays', async () => {
    hub.files.delete('tokenizer.json');
    expect(await pin()).toEqual({ unusable: `${hub.url} has no tokenizer.json in ${HUB}` });
    expect(await readdir(join(folder, 'one'))).toEqual([]);
  });

  it('on a hub that is away is not used', async () => {
    const places = { blobs, hubUrl: 'http://127.0.0.1:1', encodersFolder: join(folder, 'one'), signal };
    const { unusable } = (await pinEncoder({ hub: HUB, train: 'all' }, places)) as { unusable: string };
    expect(unusable).toContain('cannot be fetched: fetch failed');
    expect(unusable).toContain('put the encoder into a folder instead');
  });
});

it('a folder that holds no encoder says what is missing', async () => {
  const places = { blobs, hubUrl: hub.url, encodersFolder: join(folder, 'one'), signal };
  expect(await pinEncoder({ folder: '/nowhere/minilm', train: 'all' }, places)).toEqual({
    unusable: expect.stringContaining('the encoder in /nowhere/minilm cannot be used: it has no config.json'),
  });
  expect(hub.asked).toEqual([]);
});
