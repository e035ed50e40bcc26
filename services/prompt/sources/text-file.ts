import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import { BINARY_PROBE_BYTES, MAX_LINE_BYTES } from './limits.ts';
import { SourceError } from './source.ts';

const NEWLINE = 10;
const READ_BYTES = 256 * 1024;

export interface TextLine {
  /** 1-based. */
  number: number;
  /** Without its line ending; absent where the line cannot be read as text. */
  text?: string;
  fault?: string;
}

/**
 * Opens a text file after a look at its beginning.
 * @throws SourceError when it is missing, not a file, empty, or not UTF-8 text
 */
export async function openTextFile(file: string, expected: string): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    if (!(await handle.stat()).isFile())
      throw new SourceError(file, `expected ${expected}, got something that is no file`);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(BINARY_PROBE_BYTES), 0, BINARY_PROBE_BYTES, 0);
    refuseBinary(file, expected, buffer.subarray(0, bytesRead));
    return handle;
  } catch (error) {
    await handle?.close();
    if (error instanceof SourceError) throw error;
    throw new SourceError(file, `expected ${expected}, but it cannot be read: ${String(error)}; check the path`, error);
  }
}

/** Lines of a file from its beginning, one at a time in memory. Closes the handle. */
export async function* linesOf(handle: FileHandle): AsyncGenerator<TextLine> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  let skippedBytes = 0;
  for await (const chunk of handle.createReadStream({ start: 0, highWaterMark: READ_BYTES })) {
    const data: Buffer = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    let from = 0;
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, from)) {
      yield lineFrom(data.subarray(from, end), ++number, skippedBytes);
      skippedBytes = 0;
      from = end + 1;
    }
    rest = data.subarray(from);
    if (rest.length > MAX_LINE_BYTES) {
      skippedBytes += rest.length;
      rest = Buffer.alloc(0);
    }
  }
  if (rest.length > 0 || skippedBytes > 0) yield lineFrom(rest, ++number, skippedBytes);
}

function lineFrom(bytes: Buffer, number: number, skippedBytes: number): TextLine {
  const length = bytes.length + skippedBytes;
  if (length > MAX_LINE_BYTES) {
    return { number, fault: `expected a line of at most ${MAX_LINE_BYTES} bytes, got ${length}; shorten it` };
  }
  if (!isUtf8(bytes)) return { number, fault: 'expected UTF-8, got other bytes; convert the line' };
  const text = bytes.toString('utf8');
  return { number, text: number === 1 && text.startsWith('\uFEFF') ? text.slice(1) : text };
}

/** @throws SourceError when the beginning of a file shows that it is empty or no UTF-8 text */
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
