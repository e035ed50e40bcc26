import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '@understudy/service/errors';

/** What decides what an encoder computes. */
const FILES = ['onnx/model.onnx', 'tokenizer.json'];

/** A published encoder by its content, or why there is none: the folder is on whatever machine the task was written on. */
export type PinnedEncoder = { readonly digest: string } | { readonly missing: string };

/** SHA-256 (hex) over the encoder's files, so that another model in the same folder is another candidate. */
export async function pinEncoder(folder: string): Promise<PinnedEncoder> {
  const hash = createHash('sha256');
  try {
    for (const name of FILES) await pipeline(createReadStream(join(folder, name)), hash, { end: false });
  } catch (error) {
    return { missing: `training.encoder.folder cannot be read where the trainer runs: ${messageOf(error)}` };
  }
  return { digest: hash.digest('hex') };
}
