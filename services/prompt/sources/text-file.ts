import { isUtf8 } from 'node:buffer';
import type { S3Settings } from '@understudy/service/blobs/s3-object';
import { BINARY_PROBE_BYTES, MAX_LINE_BYTES } from './limits.ts';
import { bytesOf, openPlace, type Place, placeName } from './place.ts';
import { SourceError } from './source.ts';

const NEWLINE = 10;

export interface TextLine {
  /** 1-based. */
  number: number;
  /** Without its line ending; absent where the line cannot be read as text. */
  text?: string;
  fault?: string;
}

/**
 * Opens a text after a look at its beginning.
 * @throws SourceError when it is missing, not a file, empty, or not UTF-8 text
 */
export async function openText(path: string, expected: string, s3: S3Settings): Promise<Place> {
  const place = await openPlace(path, expected, s3);
  try {
    refuseBinary(placeName(path), expected, await bytesOf(place, 0, Math.min(BINARY_PROBE_BYTES, place.sizeBytes)));
    return place;
  } catch (error) {
    await place[Symbol.asyncDispose]();
    throw error;
  }
}

/** Lines of a text from its beginning, one at a time in memory: of a longer one only its length is kept. */
export async function* linesOf(place: Place, maxLineBytes = MAX_LINE_BYTES): AsyncGenerator<TextLine> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  let skippedBytes = 0;
  for await (const chunk of place.read(0)) {
    if (skippedBytes > 0 && rest.length === 0 && !chunk.includes(NEWLINE)) {
      skippedBytes += chunk.length;
      continue;
    }
    const data: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, from)) {
      yield lineFrom(data.subarray(from, end), ++number, skippedBytes, maxLineBytes);
      skippedBytes = 0;
      from = end + 1;
    }
    rest = data.subarray(from);
    if (rest.length > maxLineBytes) {
      skippedBytes += rest.length;
      rest = Buffer.alloc(0);
    }
  }
  if (rest.length > 0 || skippedBytes > 0) yield lineFrom(rest, ++number, skippedBytes, maxLineBytes);
}

function lineFrom(bytes: Buffer, number: number, skippedBytes: number, maxLineBytes: number): TextLine {
  const length = bytes.length + skippedBytes;
  if (length > maxLineBytes) {
    return { number, fault: `expected a line of at most ${maxLineBytes} bytes, got ${length}; shorten it` };
  }
  if (!isUtf8(bytes)) return { number, fault: 'expected UTF-8, got other bytes; convert the line' };
  const text = bytes.toString('utf8');
  return { number, text: number === 1 && text.startsWith('\uFEFF') ? text.slice(1) : text };
}

/** @throws SourceError when the beginning of a text shows that it is empty or no UTF-8 text */
function refuseBinary(file: string, expected: string, beginning: Buffer): void {
  if (beginning.length === 0) throw new SourceError(file, `expected ${expected}, got an empty file; add records`);
  const [first, second] = beginning;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new SourceError(file, `expected ${expected} in UTF-8, got UTF-16; convert it`);
  }
  if (beginning.includes(0)) {
    throw new SourceError(file, `expected ${expected}, got a binary file; unpack or convert it`);
  }
}
