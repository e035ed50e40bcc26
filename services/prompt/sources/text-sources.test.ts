import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCsv } from './csv.ts';
import { readFolder, textFormat } from './folder.ts';
import { readJsonl } from './jsonl.ts';
import { readLines } from './lines.ts';
import { type RecordStream, SourceError, type SourceRecord } from './source.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sources-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Records with places relative to the test's folder. */
async function collected(records: RecordStream): Promise<SourceRecord[]> {
  const all: SourceRecord[] = [];
  for await (const record of records) all.push({ ...record, position: record.position.replace(`${folder}/`, '') });
  return all;
}

async function fileWith(name: string, content: string | Buffer): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

describe('jsonl', () => {
  const read = async (content: string | Buffer, options = {}) => {
    const path = await fileWith('in.jsonl', content);
    return collected(readJsonl({ kind: 'jsonl', path, ...options }, ['text']));
  };

  test('a line that is no JSON object is reported with its place, and the others are read', async () => {
    expect(await read('{"text":"a"}\n\n{"text":\n[1]\n  \n{"text":"b","more":1}')).toEqual([
      { position: 'in.jsonl:1', input: { text: 'a' } },
      { position: 'in.jsonl:3', fault: expect.stringMatching(/^expected a JSON object, got \{"text": \(SyntaxError/) },
      { position: 'in.jsonl:4', fault: 'expected a JSON object, got [1]' },
      { position: 'in.jsonl:6', input: { text: 'b' } },
    ]);
  });

  test('names of the source and its reference are mapped', async () => {
    const options = { fields: { text: 'body' }, reference: { field: 'class', map: { '0': 'ham' } } };
    expect(await read('{"body":"a","class":0}\n{"body":"b","class":1}\n{"body":"c"}', options)).toEqual([
      { position: 'in.jsonl:1', input: { text: 'a' }, reference: 'ham' },
      { position: 'in.jsonl:2', input: { text: 'b' }, reference: undefined },
      { position: 'in.jsonl:3', input: { text: 'c' } },
    ]);
  });

  test('bytes that are no UTF-8 and huge lines cost one record each; a byte order mark costs none', async () => {
    const huge = `{"text":"${'x'.repeat(3 * 1024 * 1024)}"}`;
    const content = Buffer.concat([
      Buffer.from('\uFEFF{"text":"a"}\r\n'),
      Buffer.from([0xff, 10]),
      Buffer.from(`${huge}\n{"text":"z"}\n`),
    ]);
    expect(await read(content)).toEqual([
      { position: 'in.jsonl:1', input: { text: 'a' } },
      { position: 'in.jsonl:2', fault: 'expected UTF-8, got other bytes; convert the line' },
      { position: 'in.jsonl:3', fault: `expected a line of at most 1048576 bytes, got ${huge.length}; shorten it` },
      { position: 'in.jsonl:4', input: { text: 'z' } },
    ]);
  });

  test('any texts come back in order, whatever their lengths do to the reads', async () => {
    const texts = fc.array(
      fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.nat(400_000).map((n) => 'é'.repeat(n)),
      ),
      {
        maxLength: 8,
      },
    );
    await fc.assert(
      fc.asyncProperty(texts, async (given) => {
        const content = given.map((text) => JSON.stringify({ text })).join('\n');
        const records = content === '' ? [] : await read(content);
        expect(records.map((record) => 'input' in record && record.input.text)).toEqual(given);
      }),
      { numRuns: 20 },
    );
  });
});

describe('a file that cannot be used', () => {
  test.each([
    ['empty', '', /got an empty file; add records/],
    ['binary', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0]), /got a binary file; unpack or convert it/],
    ['utf16', Buffer.from('\uFEFFhello', 'utf16le'), /in UTF-8, got UTF-16; convert it/],
  ])('%s is refused with its name and what was expected', async (name, content, message) => {
    const path = await fileWith(name, content);
    for (const records of [
      readJsonl({ kind: 'jsonl', path }, ['text']),
      readCsv({ kind: 'csv', path }, ['text']),
      readLines({ kind: 'lines', path }, 'text'),
    ]) {
      const refused = collected(records);
      await expect(refused).rejects.toThrow(SourceError);
      await expect(refused).rejects.toThrow(message);
      await expect(refused).rejects.toThrow(path);
    }
  });

  test('missing, or a folder, is refused too', async () => {
    const missing = collected(readLines({ kind: 'lines', path: join(folder, 'missing') }, 'text'));
    await expect(missing).rejects.toThrow(
      /missing: expected one input a line, but it cannot be read: .*ENOENT.*check the path/,
    );
    await expect(collected(readLines({ kind: 'lines', path: folder }, 'text'))).rejects.toThrow(
      /got something that is no file/,
    );
  });
});

test('lines: blank ones are no records', async () => {
  const path = await fileWith('in.txt', 'one\r\n\n  \ntwo');
  expect(await collected(readLines({ kind: 'lines', path }, 'text'))).toEqual([
    { position: 'in.txt:1', input: { text: 'one\r' } },
    { position: 'in.txt:4', input: { text: 'two' } },
  ]);
});

describe('csv', () => {
  const read = async (content: string | Buffer, options = {}) => {
    const path = await fileWith('in.csv', content);
    return collected(readCsv({ kind: 'csv', path, ...options }, ['text']));
  };

  test('quoted values keep their newlines, and a row of the wrong width is reported with its line', async () => {
    const records = await read('text,class\n"a\n""b""",ham\nonly\n1,2,3\nlast,spam\n', {
      reference: { field: 'class' },
    });
    const byLine = records.toSorted((a, b) => (a.position < b.position ? -1 : 1));
    expect(byLine).toEqual([
      { position: 'in.csv:3', input: { text: 'a\n"b"' }, reference: 'ham' },
      { position: 'in.csv:4', fault: expect.stringMatching(/columns length is 2, got 1/) },
      { position: 'in.csv:5', fault: expect.stringMatching(/columns length is 2, got 3/) },
      { position: 'in.csv:6', input: { text: 'last' }, reference: 'spam' },
    ]);
  });

  test.each([
    [
      'a column that is missing',
      'body,class\nx,y\n',
      /in.csv:1: expected the columns text, got body, class; add text, or name other columns/,
    ],
    ['columns that repeat', 'text,a,a\nx,y,z\n', /in.csv:1: expected distinct columns, got text, a, a/],
    ['a quote that never closes', 'text\nok\n"open\nrest\n', /in.csv:\d: Quote Not Closed.*correct the quotes/],
    ['a quote inside a value', 'text\nok\nx"y\nrest\n', /in.csv:3: Invalid Opening Quote/],
    ['a row without end', `text\n"${'x'.repeat(2 * 1024 * 1024)}"\n`, /Max Record Size/],
    ['other encodings', Buffer.from('text\ncaf\xe9\n', 'latin1'), /expected UTF-8, got other bytes; convert it/],
  ])('%s ends the reading, because what follows cannot be trusted', async (_, content, message) => {
    await expect(read(content)).rejects.toThrow(message);
    await expect(read(content)).rejects.toThrow(SourceError);
  });
});

describe('folder', () => {
  test('reads files below it in the order of their names, folder names as references', async () => {
    const root = join(folder, 'mail');
    for (const [path, content] of [
      ['spam/2.txt', 'buy'],
      ['ham/1.txt', 'hi'],
      ['ham/deep/9.txt', 'deep'],
      ['ham/1.json', '{}'],
      ['.git/x.txt', 'no'],
      ['spam/3.txt', Buffer.from([0, 1])],
      ['spam/4.txt', Buffer.from([0xff])],
    ] as const) {
      await mkdir(join(root, path, '..'), { recursive: true });
      await writeFile(join(root, path), content);
    }
    await symlink(join(root, 'ham/1.txt'), join(root, 'ham/link.txt'));
    const source = {
      kind: 'folder' as const,
      path: root,
      format: 'text' as const,
      suffix: '.txt',
      reference: { map: { ham: 'good', spam: 'bad' } },
    };
    expect(await collected(readFolder(source, textFormat('text')))).toEqual([
      { position: 'mail/ham/1.txt', input: { text: 'hi' }, reference: 'good' },
      { position: 'mail/ham/deep/9.txt', input: { text: 'deep' }, reference: undefined },
      { position: 'mail/spam/2.txt', input: { text: 'buy' }, reference: 'bad' },
      { position: 'mail/spam/3.txt', fault: 'expected text, got a binary file' },
      { position: 'mail/spam/4.txt', fault: 'expected UTF-8, got other bytes; convert the file' },
    ]);
    await expect(collected(readFolder({ ...source, suffix: '.eml' }, textFormat('text')))).rejects.toThrow(
      /mail: expected a folder with files whose names end in .eml, got none/,
    );
  });

  test('that is missing is refused', async () => {
    const source = { kind: 'folder' as const, path: join(folder, 'none'), format: 'text' as const };
    await expect(collected(readFolder(source, textFormat('text')))).rejects.toThrow(
      /none: expected a folder, but it cannot/,
    );
  });
});
