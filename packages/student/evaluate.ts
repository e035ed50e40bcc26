import { Graph, openSession, serialize, tensor, toRuntime } from '@understudy/graph';
import type { Example } from './examples.ts';
import { compare, type DevResult } from './heads/agreement.ts';
import { type Layout, TAGS } from './heads/layout.ts';
import type { Prediction } from './heads/read.ts';
import type { Learner, ParameterValues } from './learner.ts';

/** A learner's forward pass for one bucket, with the parameters as inputs: any epoch's can be put in. */
function forwardModel({ parameters, logits }: Learner, bucket: number): Uint8Array {
  const graph = new Graph(`forward-${bucket}`);
  const values = Object.fromEntries(
    parameters.map(({ name, dims }) => [name, graph.input(name, 'float32', dims)] as const),
  );
  const { texts, tokens } = logits(graph, values, bucket);
  if (texts) graph.output('text_logits', texts);
  if (tokens) graph.output('token_logits', tokens);
  return serialize(graph);
}

const indicesOf = (buckets: Uint8Array, bucket: number): number[] =>
  [...buckets.keys()].filter((i) => buckets[i] === bucket);

export type DevEvaluator = {
  readonly evaluate: (parameters: ParameterValues) => Promise<DevResult>;
  readonly release: () => Promise<void>;
};

/** One text's logits out of a batch's, by head. */
function predictionOf(
  layout: Layout,
  { texts, tokens }: { texts: Float32Array | undefined; tokens: Float32Array | undefined },
  slot: number,
  length: number,
  offsets: Prediction['tokens'],
): Prediction {
  const { textWidth, tokenWidth } = layout;
  const logits: Record<string, Float32Array> = {};
  for (const { head, at, width } of layout.texts) {
    const start = slot * textWidth + at;
    logits[head.name] = (texts as Float32Array).slice(start, start + width);
  }
  const count = Math.min(length, offsets?.starts.length ?? 0);
  for (const { head, at } of layout.tokens) {
    const own = new Float32Array(TAGS * count);
    for (let token = 0; token < count; token++) {
      const start = (slot * length + token) * tokenWidth + at;
      own.set((tokens as Float32Array).subarray(start, start + TAGS), TAGS * token);
    }
    logits[head.name] = own;
  }
  if (!offsets) return { logits };
  return { logits, tokens: { starts: offsets.starts.subarray(0, count), ends: offsets.ends.subarray(0, count) } };
}

/** Opens the forward passes that dev needs, for looking at it with whatever parameters there are at the time. */
export async function openDevEvaluator(
  learner: Learner,
  dev: readonly Example[],
  layout: Layout,
  threads: number,
): Promise<DevEvaluator> {
  const { batchTexts } = learner.settings;
  const buckets = [...new Set(learner.dev.buckets)];
  const passes = await Promise.all(
    buckets.map(async (bucket) => ({
      bucket,
      indices: indicesOf(learner.dev.buckets, bucket),
      session: await openSession(forwardModel(learner, bucket), { threads }),
    })),
  );
  const evaluate = async (parameters: ParameterValues): Promise<DevResult> => {
    const feeds = Object.fromEntries(
      learner.parameters.map(({ name, dims }) => [
        name,
        toRuntime(tensor('float32', dims, parameters[name] as Float32Array)),
      ]),
    );
    const predictions = new Array<Prediction>(dev.length);
    for (const { bucket, indices, session } of passes) {
      for (let start = 0; start < indices.length; start += batchTexts) {
        const batch = indices.slice(start, start + batchTexts);
        const features = Object.entries(learner.dev.features(batch, bucket));
        const inputs = features.map(([name, value]) => [name, toRuntime(value)] as const);
        const outputs = await session.run({ ...feeds, ...Object.fromEntries(inputs) });
        const [texts, tokens] = [outputs.text_logits?.data, outputs.token_logits?.data] as (Float32Array | undefined)[];
        const length = learner.dev.tokens?.lengths[bucket] ?? 0;
        for (const [slot, i] of batch.entries()) {
          const offsets = learner.dev.tokens?.offsets(i);
          predictions[i] = predictionOf(layout, { texts, tokens }, slot, length, offsets);
        }
      }
    }
    return compare(layout, predictions, dev);
  };
  const release = async (): Promise<void> => {
    for (const { session } of passes) await session.release();
  };
  return { evaluate, release };
}
