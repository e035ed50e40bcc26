/** Token ids of texts as one batch, padded on the right: `ids` and `mask` are int64 [texts, length]. */
export type PaddedTexts = { readonly ids: BigInt64Array; readonly mask: BigInt64Array; readonly length: number };

/** Pads texts to a length, or to the longest of them, and to one token where all are empty. */
export function padded(
  texts: readonly ArrayLike<number>[],
  padId: number,
  length = texts.reduce((longest, ids) => Math.max(longest, ids.length), 1),
): PaddedTexts {
  // The values are non-negative and Node runs on little-endian machines only, so writing the low words is enough.
  const ids = new Int32Array(2 * texts.length * length);
  const mask = new Int32Array(2 * texts.length * length);
  for (const [text, tokens] of texts.entries()) {
    const start = 2 * text * length;
    for (let i = 0; i < tokens.length; i++) {
      ids[start + 2 * i] = tokens[i] as number;
      mask[start + 2 * i] = 1;
    }
    for (let i = tokens.length; i < length; i++) ids[start + 2 * i] = padId;
  }
  return { ids: new BigInt64Array(ids.buffer), mask: new BigInt64Array(mask.buffer), length };
}
