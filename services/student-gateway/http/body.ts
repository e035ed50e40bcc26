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
  const bytes = await readBytes(request);
  if (!isUtf8(bytes)) throw badRequest('the body is not valid UTF-8: encode it as UTF-8');
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw badRequest(`the body is not valid JSON: ${(error as Error).message}`);
  }
};

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
