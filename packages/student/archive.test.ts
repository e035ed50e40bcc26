import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { type Header, pack } from 'tar-stream';
import { beforeAll, describe, expect, it } from 'vitest';
import { openArchive, sha256Of, writeArchive } from './archive.ts';
import { MAX_BUNDLE_BYTES, MAX_BUNDLE_FILE_BYTES } from './limits.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const FILES = new Map([
  ['onnx/model.onnx', new Uint8Array(5_000).map((_, i) => i)],
  ['README.md', utf8('# hello')],
  ['empty.json', new Uint8Array()],
]);
const code = (expected: string) => ({ name: 'BundleError', code: expected });
const asObject = (files: ReadonlyMap<string, Uint8Array>) =>
  Object.fromEntries([...files].map(([name, bytes]) => [name, Array.from(bytes)]));

/** A tar archive of anything at all, without our manifest unless it is given. */
function tarOf(...entries: (Partial<Header> & { name: string; data?: string })[]): Promise<Uint8Array> {
  const archive = pack();
  for (const { data = '', ...header } of entries) archive.entry(header, data);
  archive.finalize();
  return buffer(archive);
}

/** A manifest that truly describes a text file. */
const manifest = (name: string, data: string) => ({
  name: 'manifest.json',
  data: JSON.stringify({ version: 1, files: { [name]: { bytes: data.length, sha256: sha256Of(utf8(data)) } } }),
});

let archive: Uint8Array;
beforeAll(async () => {
  archive = await writeArchive(FILES);
});

describe('an archive', () => {
  it('gives its files back', async () => {
    expect(asObject(await openArchive(archive, sha256Of(archive)))).toEqual(asObject(FILES));
  });

  it('has the same bytes whenever and in whatever order it is written', async () => {
    expect(sha256Of(await writeArchive(new Map([...FILES].reverse())))).toBe(sha256Of(archive));
  });

  it('is never written with a path that would be refused', async () => {
    await expect(writeArchive(new Map([['../evil', utf8('x')]]))).rejects.toMatchObject(code('unsafe-path'));
  });
});

describe('openArchive refuses', () => {
  it('an archive cut off anywhere before its end marker', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: archive.length - 1_025 }), async (length) => {
        await expect(openArchive(archive.slice(0, length))).rejects.toMatchObject(code('truncated'));
      }),
      { numRuns: 60 },
    );
  });

  it('an archive with any byte changed, when its digest is known', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(archive.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const forged = archive.map((byte, i) => (i === at ? byte ^ change : byte));
        await expect(openArchive(forged, sha256Of(archive))).rejects.toMatchObject({ name: 'BundleError' });
      }),
      { numRuns: 60 },
    );
  });

  it('a file that its manifest does not describe', async () => {
    const at = archive.findIndex((_, i) => Buffer.from(archive.subarray(i, i + 7)).toString() === '# hello');
    const forged = archive.map((byte, i) => (i === at ? byte + 1 : byte));
    await expect(openArchive(forged)).rejects.toMatchObject(code('digest-mismatch'));
  });

  it('another archive than expected', async () => {
    await expect(openArchive(archive, '0'.repeat(64))).rejects.toMatchObject(code('digest-mismatch'));
  });

  const data = 'text';
  it.each([
    ['an absolute path', '/etc/passwd'],
    ['a parent path', '../evil'],
    ['a parent path inside', 'onnx/../../evil'],
    ['a hidden file', '.npmrc'],
    ['a Windows path', 'C:\\evil'],
    ['a long path', 'a/'.repeat(80)],
  ])('%s', async (_, name) => {
    const forged = await tarOf(manifest(name, data), { name, data });
    await expect(openArchive(forged)).rejects.toMatchObject(code('unsafe-path'));
  });

  it.each(['symlink', 'link', 'directory', 'fifo'] as const)('a %s', async (type) => {
    const forged = await tarOf(manifest('a', ''), { name: 'a', type, linkname: '/etc/passwd' });
    await expect(openArchive(forged)).rejects.toMatchObject(code('unsafe-path'));
  });

  it('a file that the manifest does not name, and one that is there twice', async () => {
    const extra = await tarOf(manifest('a', data), { name: 'a', data }, { name: 'b', data });
    await expect(openArchive(extra)).rejects.toMatchObject(code('malformed'));
    const twice = await tarOf(manifest('a', data), { name: 'a', data }, { name: 'a', data });
    await expect(openArchive(twice)).rejects.toMatchObject(code('malformed'));
  });

  it('a manifest of another form, and one of a prototype', async () => {
    for (const content of ['{}', 'no JSON', '{"version":2,"files":{}}']) {
      const forged = await tarOf({ name: 'manifest.json', data: content });
      await expect(openArchive(forged)).rejects.toMatchObject(code('malformed'));
    }
    const forged = await tarOf(manifest('a', data), { name: 'a', data }, { name: 'constructor', data });
    await expect(openArchive(forged)).rejects.toMatchObject(code('malformed'));
  });

  it('what is no archive', async () => {
    await expect(openArchive(new Uint8Array(2_048).fill(7))).rejects.toMatchObject(code('malformed'));
    await expect(openArchive(new Uint8Array())).rejects.toMatchObject(code('truncated'));
  });

  it('a file that says it is too large, before reading it', async () => {
    const small = await tarOf({ name: 'huge', data: 'x' });
    const forged = Buffer.from(small);
    forged.write((MAX_BUNDLE_FILE_BYTES + 1).toString(8).padStart(11, '0'), 124, 'latin1');
    forged.fill(' ', 148, 156);
    const checksum = forged.subarray(0, 512).reduce((sum, byte) => sum + byte, 0);
    forged.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    await expect(openArchive(forged)).rejects.toMatchObject(code('too-large'));
  });

  it('more files than a bundle has', async () => {
    const many = Array.from({ length: 40 }, (_, i) => ({ name: `file${i}`, data }));
    await expect(openArchive(await tarOf(...many))).rejects.toMatchObject(code('too-large'));
  });

  it('more bytes than a blob has', async () => {
    const huge = new Uint8Array(MAX_BUNDLE_BYTES + 1);
    await expect(openArchive(huge)).rejects.toMatchObject(code('too-large'));
  });
});
