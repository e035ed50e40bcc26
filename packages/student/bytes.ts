import { MAX_TEXT_BYTES } from './limits.ts';
import { byteOffsets, type TokenOffsets } from './offsets.ts';

/** The id of padding: one above the 256 bytes, which are their own ids. */
export const PAD_ID = 256;

/** Turns texts into the token ids that a student reads; `padId` fills up the shorter ones of a batch. */
export type TextTokenizer = {
  readonly padId: number;
  readonly encode: (text: string) => ArrayLike<number>;
  /** How many ids `encode` gives. */
  readonly count: (text: string) => number;
  /** Where each of the ids that `encode` gives lies in the text. */
  readonly offsets: (text: string) => TokenOffsets;
};

const encoder = new TextEncoder();

/**
 * A text as the ids a student reads: its UTF-8 bytes, at most `MAX_TEXT_BYTES` of them. An unpaired surrogate becomes
 * U+FFFD, as everywhere on the web. The bundle's tokenizer.json gives the same ids.
 */
export const encodeText = (text: string): Uint8Array => encoder.encode(text).subarray(0, MAX_TEXT_BYTES);

export const byteTokenizer = {
  padId: PAD_ID,
  encode: encodeText,
  count: (text) => Math.min(Buffer.byteLength(text), MAX_TEXT_BYTES),
  offsets: (text) => byteOffsets(text, MAX_TEXT_BYTES),
} satisfies TextTokenizer;

/**
 * The printable character that stands for each byte in a byte-level tokenizer's vocabulary (GPT-2's table): printable
 * Latin-1 stands for itself, the rest is numbered from U+0100 on, in order.
 */
export function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}
