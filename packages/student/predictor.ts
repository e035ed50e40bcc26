import { openSession, tensor, toRuntime } from '@understudy/graph';
import type { Head } from '@understudy/task/output/head';
import type { TextTokenizer } from './bytes.ts';
import { isSpan, outputName, TAGS } from './heads/layout.ts';
import type { Prediction } from './heads/read.ts';
import { TEXTS_PER_CALL } from './limits.ts';
import { padded } from './padded.ts';

/** What a student gives for each text, in the order of the texts. */
export type Predictor = {
  readonly predict: (texts: readonly string[]) => Promise<Prediction[]>;
  readonly release: () => Promise<void>;
};

/** Opens a student's ONNX model for prediction. Texts of similar length go together, so that little is padded. */
export async function openPredictor(
  model: Uint8Array,
  tokenizer: TextTokenizer,
  heads: readonly Head[],
  threads: number,
): Promise<Predictor> {
  const session = await openSession(model, { threads });
  const outputs = heads.map(({ name }) => outputName(name));
  const hasSpans = heads.some(isSpan);
  const call = async (texts: readonly ArrayLike<number>[]): Promise<Record<string, Float32Array>[]> => {
    const { ids, mask, length } = padded(texts, tokenizer.padId);
    const dims = [texts.length, length];
    const feeds = {
      input_ids: toRuntime(tensor('int64', dims, ids)),
      attention_mask: toRuntime(tensor('int64', dims, mask)),
    };
    const results = await session.run(feeds, outputs);
    const given = texts.map((): Record<string, Float32Array> => ({}));
    for (const [i, head] of heads.entries()) {
      const all = results[outputs[i] as string]?.data as Float32Array;
      const width = all.length / texts.length;
      for (const [slot, own] of given.entries()) {
        const kept = isSpan(head) ? TAGS * (texts[slot] as ArrayLike<number>).length : width;
        own[head.name] = all.slice(slot * width, slot * width + kept);
      }
    }
    return given;
  };
  const predict = async (texts: readonly string[]): Promise<Prediction[]> => {
    const encoded = texts.map(tokenizer.encode);
    const byLength = encoded.map((_, i) => i).sort((a, b) => encoded[a]!.length - encoded[b]!.length);
    const results = new Array<Prediction>(texts.length);
    for (let start = 0; start < byLength.length; start += TEXTS_PER_CALL) {
      const chosen = byLength.slice(start, start + TEXTS_PER_CALL);
      const given = await call(chosen.map((i) => encoded[i]!));
      for (const [slot, i] of chosen.entries()) {
        const logits = given[slot]!;
        results[i] = hasSpans ? { logits, tokens: tokenizer.offsets(texts[i]!) } : { logits };
      }
    }
    return results;
  };
  return { predict, release: () => session.release() };
}
