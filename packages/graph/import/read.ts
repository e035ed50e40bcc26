import { open, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, sep } from 'node:path';
import type { ModelProto } from 'onnx-buf';
import { GraphError } from '../errors.ts';
import { parseModel } from '../inspect.ts';
import { MAX_MODEL_BYTES } from '../serialize.ts';
import type { ReadExternal } from './tensor.ts';

/** A parsed file, and how to read the tensors that it keeps beside itself. */
export type ModelFile = { readonly model: ModelProto; readonly external: ReadExternal };

/**
 * Reads external data from the folder of the model and from nowhere else: absolute paths, paths that climb out, and
 * symbolic links that lead out are refused.
 */
const besideModel =
  (folder: string): ReadExternal =>
  async (tensor, { location, offset, length }) => {
    const refuse = (why: string, cause?: unknown): GraphError =>
      new GraphError(`tensor "${tensor}": external data "${location}" ${why}`, { cause });
    if (isAbsolute(location) || location.split(/[\\/]/).includes('..')) {
      throw refuse('is not a plain path inside the folder of the model');
    }
    const path = await realpath(join(folder, location)).catch((cause: unknown) => {
      throw refuse('is not there', cause);
    });
    if (!path.startsWith((await realpath(folder)) + sep)) throw refuse('leads out of the folder of the model');
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (offset + length > size)
        throw refuse(`has ${size} bytes; bytes ${offset} to ${offset + length} are asked for`);
      const bytes = new Uint8Array(length);
      const { bytesRead } = await file.read(bytes, 0, length, offset);
      return bytes.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  };

const nowhere: ReadExternal = (tensor, { location }) => {
  throw new GraphError(
    `tensor "${tensor}" keeps its data in "${location}": import the model by its path, not its bytes`,
  );
};

function checkSize(bytes: number): void {
  if (bytes > MAX_MODEL_BYTES) {
    throw new GraphError(
      `an ONNX file has at most ${MAX_MODEL_BYTES} bytes, got ${bytes}: save its weights as external data`,
    );
  }
}

/**
 * Parses a model from its bytes or its path.
 * @throws GraphError when it is no ONNX model; the file system's error when the path cannot be read.
 */
export async function readModel(source: Uint8Array | string): Promise<ModelFile> {
  if (typeof source !== 'string') {
    checkSize(source.length);
    return { model: parseModel(source), external: nowhere };
  }
  checkSize((await stat(source)).size);
  return { model: parseModel(await readFile(source)), external: besideModel(dirname(source)) };
}
