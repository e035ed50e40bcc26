import { createHash } from 'node:crypto';
import { appendFile, mkdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { MAX_CACHED_FEATURE_BYTES } from '../limits.ts';

/** A record of the file: the key, a CRC-32 of the features, the features. */
const KEY_BYTES = 32;
const CRC_BYTES = 4;

/** Identifies what a frozen encoder gives for a text: its token ids. */
const keyOf = (ids: ArrayLike<number>): Buffer =>
  createHash('sha256')
    .update(Buffer.from(Int32Array.from(ids).buffer))
    .digest();

/**
 * What a frozen encoder gave for texts, by their token ids: in memory, and in a file of the encoder's own where a folder
 * is given, so that the next training need not ask again. A record that is damaged or cut off is as good as not there, and a folder that
 * cannot be used (full, read-only) costs the next training time, not this one its life.
 */
export class FeatureCache {
  readonly #known = new Map<string, Float32Array>();
  #file: string | undefined;
  readonly #width: number;
  readonly #onLost: (error: Error) => void;
  #bytes = 0;

  private constructor(width: number, file: string | undefined, onLost: (error: Error) => void) {
    this.#width = width;
    this.#file = file;
    this.#onLost = onLost;
  }

  /**
   * @param digest of the encoder, pooling included.
   * @param onLost told once why the file is not used any more.
   */
  static async open(
    folder: string | undefined,
    digest: string,
    width: number,
    onLost: (error: Error) => void = () => {},
  ): Promise<FeatureCache> {
    const cache = new FeatureCache(width, folder && join(folder, `features-${digest}.bin`), onLost);
    if (folder) {
      await cache.#orInMemory(async () => {
        await mkdir(folder, { recursive: true });
        await cache.#load();
      });
    }
    return cache;
  }

  get(ids: ArrayLike<number>): Float32Array | undefined {
    return this.#known.get(keyOf(ids).toString('latin1'));
  }

  /** Keeps the features of some texts; in the file only as long as it is not full. */
  async add(texts: readonly { readonly ids: ArrayLike<number>; readonly features: Float32Array }[]): Promise<void> {
    const records: Buffer[] = [];
    for (const { ids, features } of texts) {
      const key = keyOf(ids);
      this.#known.set(key.toString('latin1'), features);
      if (this.#bytes + this.#recordBytes > MAX_CACHED_FEATURE_BYTES) continue;
      const values = Buffer.from(features.buffer, features.byteOffset, features.byteLength);
      const crc = Buffer.alloc(CRC_BYTES);
      crc.writeUInt32LE(crc32(values));
      records.push(key, crc, values);
      this.#bytes += this.#recordBytes;
    }
    const file = this.#file;
    if (file && records.length > 0) await this.#orInMemory(() => appendFile(file, Buffer.concat(records)));
  }

  /** After a write that failed half-way nothing more is appended: the next opening cuts off what is no whole record. */
  async #orInMemory(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#file = undefined;
      this.#onLost(error as Error);
    }
  }

  get #recordBytes(): number {
    return KEY_BYTES + CRC_BYTES + Float32Array.BYTES_PER_ELEMENT * this.#width;
  }

  async #load(): Promise<void> {
    const file = this.#file as string;
    const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return Buffer.alloc(0);
      throw error;
    });
    const whole = bytes.length - (bytes.length % this.#recordBytes);
    if (whole < bytes.length) await truncate(file, whole);
    this.#bytes = whole;
    for (let at = 0; at < whole; at += this.#recordBytes) {
      const values = bytes.subarray(at + KEY_BYTES + CRC_BYTES, at + this.#recordBytes);
      if (crc32(values) !== bytes.readUInt32LE(at + KEY_BYTES)) continue;
      const features = new Float32Array(this.#width);
      Buffer.from(features.buffer).set(values);
      this.#known.set(bytes.toString('latin1', at, at + KEY_BYTES), features);
    }
  }
}
