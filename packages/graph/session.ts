import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import type { TensorValue } from './tensor.ts';

/** The runtime build; another one may round differently in the last bits. */
export const RUNTIME_VERSION = `onnxruntime-node ${env.versions.node}`;

/** How a session runs on the CPU. */
export type SessionOptions = {
  /** Threads of one operator. Explicit, because onnxruntime otherwise takes all cores in every process. */
  readonly threads: number;
};

/** Opens an ONNX model on the CPU provider. @throws Error from onnxruntime when the model is not valid. */
export function openSession(model: Uint8Array, options: SessionOptions): Promise<InferenceSession> {
  return InferenceSession.create(model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // Threads that wait in a loop take cores from whatever else runs: with busy neighbours a step took three times as long.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
}

/** An onnxruntime tensor that shares the value's memory. */
export const toRuntime = ({ type, data, dims }: TensorValue): Tensor =>
  new Tensor(type as 'float32', data as Float32Array, dims);
