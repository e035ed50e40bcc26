import { Graph, openSession, serialize, tensor, toRuntime } from '@understudy/graph';
import { argmax, type Example } from './examples.ts';
import type { Learner, ParameterValues } from './learner.ts';

/** How well a student does on dev: see `EpochResult`. */
export type DevResult = { readonly devAgreement: number; readonly devLoss: number };

/** Cross-entropy of one example in nats, from its logits. */
function crossEntropy(logits: ArrayLike<number>, target: readonly number[]): number {
  const largest = logits[argmax(logits)] as number;
  let partition = 0;
  for (let i = 0; i < logits.length; i++) partition += Math.exp((logits[i] as number) - largest);
  const logPartition = largest + Math.log(partition);
  return target.reduce((sum, p, i) => sum + p * (logPartition - (logits[i] as number)), 0);
}

/** Agreement and cross-entropy of logits with the teacher, weighted by the examples' weights. */
export function compare(logits: readonly ArrayLike<number>[], examples: readonly Example[]): DevResult {
  let [agreed, loss, total] = [0, 0, 0];
  for (const [i, { target, weight }] of examples.entries()) {
    const given = logits[i] as ArrayLike<number>;
    if (argmax(given) === argmax(target)) agreed += weight;
    loss += weight * crossEntropy(given, target);
    total += weight;
  }
  return { devAgreement: agreed / total, devLoss: loss / total };
}

/** A learner's forward pass for one bucket, with the parameters as inputs: any epoch's can be put in. */
function forwardModel({ parameters, logits }: Learner, bucket: number): Uint8Array {
  const graph = new Graph(`forward-${bucket}`);
  const values = Object.fromEntries(
    parameters.map(({ name, dims }) => [name, graph.input(name, 'float32', dims)] as const),
  );
  graph.output('logits', logits(graph, values, bucket));
  return serialize(graph);
}

const indicesOf = (buckets: Uint8Array, bucket: number): number[] =>
  [...buckets.keys()].filter((i) => buckets[i] === bucket);

export type DevEvaluator = {
  readonly evaluate: (parameters: ParameterValues) => Promise<DevResult>;
  readonly release: () => Promise<void>;
};

/** Opens the forward passes that dev needs, for looking at it with whatever parameters there are at the time. */
export async function openDevEvaluator(
  learner: Learner,
  dev: readonly Example[],
  labels: number,
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
    const logits = new Array<Float32Array>(dev.length);
    for (const { bucket, indices, session } of passes) {
      for (let start = 0; start < indices.length; start += batchTexts) {
        const batch = indices.slice(start, start + batchTexts);
        const features = Object.entries(learner.dev.features(batch, bucket));
        const inputs = features.map(([name, value]) => [name, toRuntime(value)] as const);
        const { logits: all } = await session.run({ ...feeds, ...Object.fromEntries(inputs) });
        const values = all?.data as Float32Array;
        for (const [slot, i] of batch.entries()) logits[i] = values.slice(slot * labels, (slot + 1) * labels);
      }
    }
    return compare(logits, dev);
  };
  const release = async (): Promise<void> => {
    for (const { session } of passes) await session.release();
  };
  return { evaluate, release };
}
