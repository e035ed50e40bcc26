import { Graph, openSession, serialize, tensor, toRuntime } from '@understudy/graph';
import { byteTokenizer } from '../bytes.ts';
import { TrainingError } from '../errors.ts';
import { MAX_CACHED_NGRAMS, TEXTS_PER_CALL } from '../limits.ts';
import { padded } from '../padded.ts';
import { ngramRows } from './hash.ts';

/** The rows of every text, one after another: text i has `rows[offsets[i]]` up to `rows[offsets[i + 1]]`. */
export type RowCache = { readonly rows: Uint16Array; readonly offsets: readonly number[] };

function hashingModel(tableRows: number): Uint8Array {
  const graph = new Graph('bag-hash');
  const inputIds = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const attentionMask = graph.input('attention_mask', 'int64', ['batch', 'sequence']);
  const { rows, valid } = ngramRows(graph, inputIds, attentionMask, tableRows);
  graph.output('rows', rows);
  graph.output('valid', valid);
  return serialize(graph);
}

/**
 * Hashes texts to table rows with the same graph that a finished student carries.
 * @param tableRows a power of two, at most 2¹⁶.
 * @throws TrainingError `too-large` when the texts have more n-grams than are cached.
 */
export async function hashTexts(texts: readonly string[], tableRows: number, threads: number): Promise<RowCache> {
  const session = await openSession(hashingModel(tableRows), { threads });
  const encoded = texts.map(byteTokenizer.encode);
  const parts: Uint16Array[] = [];
  const offsets = [0];
  for (let start = 0; start < encoded.length; start += TEXTS_PER_CALL) {
    const batch = encoded.slice(start, start + TEXTS_PER_CALL);
    const { ids, mask, length } = padded(batch, byteTokenizer.padId);
    const dims = [batch.length, length];
    const result = await session.run({
      input_ids: toRuntime(tensor('int64', dims, ids)),
      attention_mask: toRuntime(tensor('int64', dims, mask)),
    });
    const part = validRows(result.rows?.data as BigInt64Array, result.valid?.data as Uint8Array, batch.length, offsets);
    parts.push(part);
    if ((offsets.at(-1) as number) > MAX_CACHED_NGRAMS) {
      throw new TrainingError(
        'too-large',
        `the texts have more than ${MAX_CACHED_NGRAMS} n-grams after ${start + batch.length} of ${texts.length} texts; ` +
          'train on fewer or shorter ones',
      );
    }
  }
  await session.release();
  return { rows: concatenate(parts, offsets.at(-1) as number), offsets };
}

/** Keeps the rows of valid n-grams and notes where each text's rows end. */
function validRows(rows: BigInt64Array, valid: Uint8Array, texts: number, offsets: number[]): Uint16Array {
  const low = new Int32Array(rows.buffer, rows.byteOffset, 2 * rows.length);
  const perText = rows.length / texts;
  const base = offsets.at(-1) as number;
  const kept = new Uint16Array(rows.length);
  let count = 0;
  for (let i = 0; i < rows.length; i++) {
    if (valid[i]) kept[count++] = low[2 * i] as number;
    if ((i + 1) % perText === 0) offsets.push(base + count);
  }
  return kept.slice(0, count);
}

function concatenate(parts: readonly Uint16Array[], length: number): Uint16Array {
  const all = new Uint16Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
