import { openSession, tensor, toRuntime } from '@understudy/graph';
import type { TextTokenizer } from './bytes.ts';
import { TEXTS_PER_CALL } from './limits.ts';
import { padded } from './padded.ts';

/** Logits of each text, in the order of the texts: [texts][labels]. */
export type Predictor = {
  readonly predict: (texts: readonly string[]) => Promise<Float32Array[]>;
  readonly release: () => Promise<void>;
};

/** Opens a student's ONNX model for prediction. Texts of similar length go together, so that little is padded. */
export async function openPredictor(
  model: Uint8Array,
  tokenizer: TextTokenizer,
  outputName: string,
  threads: number,
): Promise<Predictor> {
  const session = await openSession(model, { threads });
  const call = async (texts: readonly ArrayLike<number>[]): Promise<Float32Array[]> => {
    const { ids, mask, length } = padded(texts, tokenizer.padId);
    const dims = [texts.length, length];
    const feeds = {
      input_ids: toRuntime(tensor('int64', dims, ids)),
      attention_mask: toRuntime(tensor('int64', dims, mask)),
    };
    const { [outputName]: output } = await session.run(feeds, [outputName]);
    const logits = output?.data as Float32Array;
    const labels = logits.length / texts.length;
    return texts.map((_, i) => logits.slice(i * labels, (i + 1) * labels));
  };
  const predict = async (texts: readonly string[]): Promise<Float32Array[]> => {
    const encoded = texts.map(tokenizer.encode);
    const byLength = encoded.map((_, i) => i).sort((a, b) => encoded[a]!.length - encoded[b]!.length);
    const results = new Array<Float32Array>(texts.length);
    for (let start = 0; start < byLength.length; start += TEXTS_PER_CALL) {
      const chosen = byLength.slice(start, start + TEXTS_PER_CALL);
      const logits = await call(chosen.map((i) => encoded[i]!));
      for (const [slot, i] of chosen.entries()) results[i] = logits[slot]!;
    }
    return results;
  };
  return { predict, release: () => session.release() };
}
