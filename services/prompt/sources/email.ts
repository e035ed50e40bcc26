import { compile, type HtmlToTextOptions } from 'html-to-text';
import PostalMime from 'postal-mime';
import type { FileFormat } from './folder.ts';
import { MAX_EMAIL_DEPTH, MAX_EMAIL_HEADER_BYTES, MAX_HTML_CHARACTERS, MAX_HTML_DEPTH } from './limits.ts';
import { SourceError } from './source.ts';

/** What a person reads of a mail; white space is folded to single spaces, and either may be empty. */
export interface EmailContent {
  subject: string;
  text: string;
}

const FIELDS = ['subject', 'text'] as const satisfies readonly (keyof EmailContent)[];

const HTML_OPTIONS: HtmlToTextOptions = {
  wordwrap: false,
  limits: { maxDepth: MAX_HTML_DEPTH },
  // Addresses of links and images are long, often tracking numbers, and no reader sees them.
  selectors: [
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'img', format: 'skip' },
    { selector: 'hr', format: 'skip' },
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'table'].map((selector) => ({ selector, options: { uppercase: false } })),
  ],
};

const convert = compile(HTML_OPTIONS);

/** A text part that begins like a page is HTML that its sender declared as plain text. */
const BEGINS_LIKE_HTML = /^\s*<(?:!doctype|html|head|body|table|center|font|div|p|br)\b[^>]*>/i;

/**
 * Subject and readable text of one mail (RFC 5322 with MIME, mbox `From ` line or not): transfer encodings and character
 * sets decoded, the plain text where there is one, else the HTML as text; attachments are passed over. A mail whose MIME
 * is broken gives what can be read of it, in the worst case two empty strings.
 * @throws TypeError for bytes that are binary, and Error past the limits of nesting and headers
 */
export async function parseEmail(bytes: Uint8Array): Promise<EmailContent> {
  if (bytes.includes(0)) throw new TypeError('expected a mail, got a binary file');
  const mail = await PostalMime.parse(bytes, {
    maxNestingDepth: MAX_EMAIL_DEPTH,
    maxHeadersSize: MAX_EMAIL_HEADER_BYTES,
  });
  return { subject: fold(mail.subject ?? ''), text: fold(readableText(mail.text ?? '', mail.html ?? '')) };
}

/**
 * The source format `email`: the task's fields are taken from `parseEmail`.
 * @throws SourceError when the task asks for a field that a mail does not have
 */
export function emailFormat(fields: readonly string[]): FileFormat {
  const wanted = FIELDS.filter((field) => fields.includes(field));
  const unknown = fields.filter((field) => !(FIELDS as readonly string[]).includes(field));
  if (unknown.length > 0) {
    const message = `expected input.fields out of ${FIELDS.join(', ')}, got ${unknown.join(', ')}; remove or rename them`;
    throw new SourceError('of format email', message);
  }
  return async (bytes) => {
    const mail = await parseEmail(bytes);
    return Object.fromEntries(wanted.map((field) => [field, mail[field]]));
  };
}

function textOfHtml(html: string): string {
  return convert(html.slice(0, MAX_HTML_CHARACTERS));
}

function readableText(plain: string, html: string): string {
  if (BEGINS_LIKE_HTML.test(plain)) return textOfHtml(plain);
  return plain.trim() === '' && html !== '' ? textOfHtml(html) : plain;
}

function fold(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
