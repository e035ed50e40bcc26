import { openSession, tensor, toRuntime } from '@understudy/graph';
import { argmax, type Example } from '../examples.ts';
import { Batch, type BatchShape } from './batches.ts';
import type { BagHyperparameters } from './hyperparameters.ts';
import { bagForwardModel, parameterSpecs, type TrainedShape, tableRowsOf } from './model.ts';
import type { RowCache } from './rows.ts';

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

export type DevEvaluator = {
  readonly evaluate: (parameter: (name: string) => Float32Array) => Promise<DevResult>;
  readonly release: () => Promise<void>;
};

/** Opens the forward pass for looking at dev with whatever parameters there are at the time. */
export async function openDevEvaluator(
  hyper: BagHyperparameters,
  trained: TrainedShape,
  shape: BatchShape,
  cache: RowCache,
  dev: readonly Example[],
  threads: number,
): Promise<DevEvaluator> {
  const { labels } = trained;
  const session = await openSession(bagForwardModel(hyper, trained, shape), { threads });
  const batch = new Batch(shape, tableRowsOf(trained), labels);
  const evaluate = async (parameter: (name: string) => Float32Array): Promise<DevResult> => {
    const parameters = parameterSpecs(hyper, trained).map(
      ({ name, dims }) => [name, toRuntime(tensor('float32', dims, parameter(name)))] as const,
    );
    const logits: Float32Array[] = [];
    for (let start = 0; start < dev.length; start += shape.texts) {
      const count = Math.min(shape.texts, dev.length - start);
      batch.fill(
        cache,
        dev,
        Uint32Array.from({ length: count }, (_, i) => start + i),
      );
      const features = Object.entries(batch.features).map(([name, value]) => [name, toRuntime(value)] as const);
      const result = await session.run(Object.fromEntries([...parameters, ...features]));
      const all = result.logits?.data as Float32Array;
      for (let i = 0; i < count; i++) logits.push(all.subarray(i * labels, (i + 1) * labels));
    }
    return compare(logits, dev);
  };
  return { evaluate, release: () => session.release() };
}
