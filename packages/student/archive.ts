import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { extract, pack } from 'tar-stream';
import { z } from 'zod';
import { BundleError } from './errors.ts';
import { MAX_BUNDLE_BYTES, MAX_BUNDLE_FILE_BYTES, MAX_BUNDLE_FILES } from './limits.ts';

/** Files by path, relative and with forward slashes. */
export type Files = ReadonlyMap<string, Uint8Array>;

const MANIFEST = 'manifest.json';
/** Letters, digits, `.`, `_` and `-`, each part starting with a letter or digit: no absolute path, no parent, no hidden file. */
const SAFE_PATH = /^[A-Za-z0-9][\w.-]{0,99}(\/[A-Za-z0-9][\w.-]{0,99}){0,3}$/;

const ManifestSchema = z.strictObject({
  version: z.literal(1),
  files: z.record(
    z.string(),
    z.strictObject({ bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
});
type Manifest = z.infer<typeof ManifestSchema>;

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const text = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

function manifestOf(files: Files): Uint8Array {
  const entries = [...files]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, bytes]) => [path, { bytes: bytes.length, sha256: sha256Of(bytes) }] as const);
  return text({ version: 1, files: Object.fromEntries(entries) } satisfies Manifest);
}

/**
 * Files as one uncompressed tar archive: `manifest.json` with the size and SHA-256 of each file first, then the files by
 * path. The same files give the same bytes; no time or owner is recorded.
 * @throws BundleError `unsafe-path` for a path that `openArchive` would refuse.
 */
export async function writeArchive(files: Files): Promise<Uint8Array> {
  const archive = pack();
  const collected = buffer(archive);
  const all = [[MANIFEST, manifestOf(files)] as const, ...[...files].toSorted(([a], [b]) => (a < b ? -1 : 1))];
  for (const [name, bytes] of all) {
    checkPath(name);
    archive.entry({ name, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) }, Buffer.from(bytes));
  }
  archive.finalize();
  return collected;
}

function checkPath(name: string): void {
  if (!SAFE_PATH.test(name)) {
    throw new BundleError(
      'unsafe-path',
      `the archive names ${JSON.stringify(name)}; only relative paths of letters, digits, ".", "_" and "-" are taken`,
    );
  }
}

/** Reads the entries of a tar archive, none larger than allowed, without trusting any of them. */
async function entriesOf(archive: Uint8Array): Promise<Map<string, Uint8Array>> {
  const entries = new Map<string, Uint8Array>();
  const reading = extract();
  reading.end(Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength));
  for await (const entry of reading) {
    const { name, type, size = 0 } = entry.header;
    checkPath(name);
    if (type !== 'file') throw new BundleError('unsafe-path', `"${name}" is a ${type}; only plain files are taken`);
    if (size > MAX_BUNDLE_FILE_BYTES) {
      throw new BundleError('too-large', `"${name}" has ${size} bytes; at most ${MAX_BUNDLE_FILE_BYTES} are taken`);
    }
    if (entries.has(name)) throw new BundleError('malformed', `"${name}" is in the archive twice`);
    if (entries.size >= MAX_BUNDLE_FILES) {
      throw new BundleError('too-large', `the archive has more than ${MAX_BUNDLE_FILES} files`);
    }
    entries.set(name, await buffer(entry));
  }
  return entries;
}

function parseManifest(bytes: Uint8Array): Manifest {
  try {
    return ManifestSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new BundleError('malformed', `${MANIFEST} is not a manifest of version 1`, { cause });
  }
}

function checkEntries(entries: ReadonlyMap<string, Uint8Array>, { files }: Manifest): void {
  for (const name of entries.keys()) {
    if (!Object.hasOwn(files, name)) throw new BundleError('malformed', `"${name}" is not in ${MANIFEST}`);
  }
  for (const [name, { bytes: length, sha256 }] of Object.entries(files)) {
    const bytes = entries.get(name);
    if (!bytes) throw new BundleError('truncated', `"${name}" is in ${MANIFEST} but missing from the archive`);
    if (bytes.length !== length || sha256Of(bytes) !== sha256) {
      throw new BundleError('digest-mismatch', `"${name}" is not the file that ${MANIFEST} describes`);
    }
  }
}

/**
 * Opens an archive and verifies every file of it against its manifest.
 * @param expectedDigest SHA-256 (hex) of the whole archive, where the caller knows it.
 * @throws BundleError saying what is wrong.
 */
export async function openArchive(archive: Uint8Array, expectedDigest?: string): Promise<Map<string, Uint8Array>> {
  if (archive.length > MAX_BUNDLE_BYTES) {
    throw new BundleError(
      'too-large',
      `the archive has ${archive.length} bytes; at most ${MAX_BUNDLE_BYTES} are taken`,
    );
  }
  let entries: Map<string, Uint8Array>;
  try {
    entries = await entriesOf(archive);
  } catch (cause) {
    if (cause instanceof BundleError) throw cause;
    const truncated = cause instanceof Error && /end of data/i.test(cause.message);
    throw new BundleError(truncated ? 'truncated' : 'malformed', 'the archive cannot be read as tar', { cause });
  }
  const manifest = entries.get(MANIFEST);
  if (!manifest) throw new BundleError('truncated', `the archive of ${archive.length} bytes has no ${MANIFEST}`);
  entries.delete(MANIFEST);
  checkEntries(entries, parseManifest(manifest));
  const digest = sha256Of(archive);
  if (expectedDigest !== undefined && digest !== expectedDigest) {
    throw new BundleError('digest-mismatch', `expected the archive ${expectedDigest}, got ${digest}`);
  }
  return entries;
}
