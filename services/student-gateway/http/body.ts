import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { badRequest, RequestError } from '../errors.ts';
import { maxBodyBytes, maxDiscardedBytes } from '../limits.ts';

const tooLarge = () => new RequestError('too-large', `expected a body of at most ${maxBodyBytes} bytes, more came`);

/**
 * The JSON value in a request's body.
 * @throws RequestError: unsupported-media-type, too-large, bad-request (not UTF-8, not JSON, cut off)
 */
export const readJson = async (request: IncomingMessage): Promise<unknown> => {
  checkReadable(request);
  return parseJson(await readBytes(request));
};

/** @throws RequestError (unsupported-media-type) for a body that is not plain JSON */
const checkReadable = (request: IncomingMessage): void => {
  const type = request.headers['content-type'];
  if (type !== 'application/json' && !isJson(type)) {
    throw new RequestError(
      'unsupported-media-type',
      `expected the header "Content-Type: application/json", came ${JSON.stringify(type ?? 'none')}`,
    );
  }
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new RequestError(
      'unsupported-media-type',
      `expected a body that is not compressed, came ${JSON.stringify(encoding)}`,
    );
  }
};

/** @throws RequestError (bad-request) */
export const parseJson = (bytes: Buffer): unknown => {
  if (!isUtf8(bytes)) throw badRequest('the body is not valid UTF-8: encode it as UTF-8');
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw badRequest(`the body is not valid JSON: ${(error as Error).message}`);
  }
};

/** True for what says to be plain JSON. */
export const isPlainJson = ({ headers }: IncomingMessage): boolean => {
  const { 'content-type': type, 'content-encoding': encoding } = headers;
  return (type === 'application/json' || isJson(type)) && (encoding === undefined || encoding === 'identity');
};

/** The beginning of a body, all of it where it is within the limit; then nothing is read on until the request is resumed. */
export const readHead = (request: IncomingMessage): Promise<{ chunks: Buffer[]; complete: boolean }> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const stop = () => {
      request.off('data', take).off('end', end).off('close', cutOff);
    };
    const take = (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes <= maxBodyBytes) return;
      request.pause();
      stop();
      resolve({ chunks, complete: false });
    };
    const end = () => {
      stop();
      resolve({ chunks, complete: true });
    };
    const cutOff = () => reject(badRequest('the body was cut off'));
    request.on('data', take).on('end', end).on('close', cutOff).on('error', reject);
  });

const isJson = (type: string | undefined): boolean =>
  type !== undefined && /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type);

/** The whole body. One over the limit is read on for a while, so that its sender gets to read the answer. */
const readBytes = (request: IncomingMessage): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    if (Number(request.headers['content-length'] ?? 0) > maxDiscardedBytes) return reject(tooLarge());
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBodyBytes) chunks.push(chunk);
      else if (bytes > maxDiscardedBytes) reject(tooLarge());
      else chunks.length = 0;
    });
    request.on('end', () => {
      if (bytes > maxBodyBytes) reject(tooLarge());
      else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    });
    request.on('error', reject);
    request.on('close', () => {
      if (!request.complete) reject(badRequest('the body was cut off'));
    });
  });
