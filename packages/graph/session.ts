import { GraphError } from './errors.ts';
import { Graph } from './graph.ts';
import { env, InferenceSession, Tensor } from './runtime.ts';
import { serialize } from './serialize.ts';
import { type TensorValue, zeros } from './tensor.ts';

/** The runtime build; another one may round differently in the last bits. */
export const RUNTIME_VERSION = `onnxruntime-node ${env.versions.node}`;

/**
 * Where a model can run: `cuda` needs onnxruntime's CUDA provider beside the npm package, `webgpu` a GPU of any vendor
 * with its driver. Operators that a GPU provider lacks run on the CPU.
 */
export const DEVICES = ['cpu', 'webgpu', 'cuda'] as const;
export type Device = (typeof DEVICES)[number];

/** How a session runs. */
export type SessionOptions = {
  /** Threads of one operator on the CPU. Explicit, because onnxruntime otherwise takes all cores in every process. */
  readonly threads: number;
  /** `cpu` where absent. */
  readonly device?: Device;
  /** Leaves what the model gives in the device's memory; for `webgpu` alone. */
  readonly outputsOnDevice?: boolean;
  /**
   * Whether freed memory is kept for the next run, in blocks that double; true where absent. A training step needs far more
   * than an answer, and each bucket would keep its own.
   */
  readonly keepsMemory?: boolean;
};

/** How long a thread without work looks for some before it sleeps, in microseconds: most operators of a step are that short. */
const SPIN_US = '20';

/** Opens an ONNX model. @throws Error from onnxruntime when the model is not valid, or the device not there. */
export function openSession(model: Uint8Array, options: SessionOptions): Promise<InferenceSession> {
  return InferenceSession.create(model, {
    executionProviders: options.device && options.device !== 'cpu' ? [options.device, 'cpu'] : ['cpu'],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    enableCpuMemArena: options.keepsMemory ?? true,
    ...(options.outputsOnDevice && { preferredOutputLocation: 'gpu-buffer' }),
    // Threads that wait in a loop take cores from whatever else runs: with busy neighbours a step took three times as long.
    // This long, they get most of what waiting in a loop wins, for no more processor time than sleeping.
    extra: { session: { intra_op: { allow_spinning: '1', spin_duration_us: SPIN_US } } },
  });
}

/** An onnxruntime tensor that shares the value's memory. */
export const toRuntime = ({ type, data, dims }: TensorValue): Tensor =>
  new Tensor(type as 'float32', data as Float32Array, dims);

/** Proves that a device can be used from this process. @throws GraphError saying why not. */
export async function checkDevice(device: Device): Promise<void> {
  const graph = new Graph('device-check');
  const x = graph.input('x', 'float32', [1]);
  graph.output('y', graph.node('Add', [x, x]));
  try {
    const session = await openSession(serialize(graph), { threads: 1, device });
    await session.run({ x: toRuntime(zeros('float32', [1])) });
    await session.release();
  } catch (cause) {
    throw new GraphError(`onnxruntime cannot use the device "${device}" here`, { cause });
  }
}
