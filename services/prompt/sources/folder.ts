import { isUtf8 } from 'node:buffer';
import { opendir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import type { Source } from '@understudy/task';
import { mapReference } from './fields.ts';
import { BINARY_PROBE_BYTES, MAX_FILE_BYTES, MAX_FOLDER_FILES } from './limits.ts';
import { type RecordStream, SourceError, type SourceRecord } from './source.ts';

/** Turns a file's bytes into the fields of an input. Throws with a plain message when the bytes are not its format. */
export type FileFormat = (bytes: Buffer) => Promise<Record<string, string>>;

/**
 * One input a file, over all folders below the source's path in the order of their names. Hidden files and links are
 * passed over. The name of a file's own folder is its reference, where the task maps it to a label.
 */
export async function* readFolder(source: Extract<Source, { kind: 'folder' }>, format: FileFormat): RecordStream {
  const files = await filesBelow(source.path, source.suffix ?? '');
  if (files.length === 0) {
    const named = source.suffix === undefined ? 'files' : `files whose names end in ${source.suffix}`;
    throw new SourceError(source.path, `expected a folder with ${named}, got none; check the path and the suffix`);
  }
  for (const file of files) yield await recordFrom(file, source, format);
}

async function recordFrom(
  file: string,
  source: Extract<Source, { kind: 'folder' }>,
  format: FileFormat,
): Promise<SourceRecord> {
  let bytes: Buffer;
  try {
    const { size } = await stat(file);
    if (size > MAX_FILE_BYTES) {
      return {
        position: file,
        fault: `expected at most ${MAX_FILE_BYTES} bytes, got ${size}; split or leave out the file`,
      };
    }
    bytes = await readFile(file);
  } catch (error) {
    return { position: file, fault: `expected a readable file: ${String(error)}` };
  }
  try {
    const input = await format(bytes);
    const folder = basename(dirname(file));
    return { position: file, input, reference: source.reference && mapReference(folder, source.reference.map) };
  } catch (error) {
    return { position: file, fault: error instanceof Error ? error.message : String(error) };
  }
}

/** The format `text`: the whole file is the value of the task's one field. */
export function textFormat(field: string): FileFormat {
  return async (bytes) => {
    if (bytes.subarray(0, BINARY_PROBE_BYTES).includes(0)) throw new TypeError('expected text, got a binary file');
    if (!isUtf8(bytes)) throw new TypeError('expected UTF-8, got other bytes; convert the file');
    return { [field]: bytes.toString('utf8').replace(/^\uFEFF/, '') };
  };
}

async function filesBelow(root: string, suffix: string): Promise<string[]> {
  const files: string[] = [];
  try {
    for await (const entry of await opendir(root, { recursive: true })) {
      const file = join(entry.parentPath, entry.name);
      const hidden = relative(root, file)
        .split(sep)
        .some((part) => part.startsWith('.'));
      if (!entry.isFile() || hidden || !entry.name.endsWith(suffix)) continue;
      files.push(file);
      if (files.length > MAX_FOLDER_FILES) {
        throw new SourceError(root, `expected at most ${MAX_FOLDER_FILES} files; split it into several sources`);
      }
    }
  } catch (error) {
    if (error instanceof SourceError) throw error;
    throw new SourceError(root, `expected a folder, but it cannot be read: ${String(error)}; check the path`, error);
  }
  return files.sort();
}
