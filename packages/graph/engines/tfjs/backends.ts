import { registerHooks } from 'node:module';
import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { GraphError } from '../../errors.ts';
import type { Device } from '../../session.ts';
import { nativePackageOf, requireInstalled, type TfjsBackend } from './packages.ts';
import { replaceSegmentSum } from './segment-sum.ts';

/** The version of TensorFlow.js; another one may round differently in the last bits. */
export const TFJS_VERSION = `tfjs-core ${tf.version_core}`;

/** The name under which a backend registers itself with tfjs. */
const REGISTERED = { 'node-gpu': 'tensorflow', node: 'tensorflow', wasm: 'wasm', cpu: 'cpu' } as const;

/** tfjs-node 4.22 calls two functions that Node 23 took out of `node:util`. */
function restoreNodeUtil(): void {
  const removed = util as unknown as Record<string, unknown>;
  removed.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  removed.isArray ??= Array.isArray;
}

async function loadNative(name: string, { threads, device }: Compute): Promise<void> {
  restoreNodeUtil();
  // Read by TensorFlow's library when it is loaded, which it is once a process.
  process.env.TF_NUM_INTRAOP_THREADS ??= String(threads);
  process.env.TF_NUM_INTEROP_THREADS ??= '1';
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  if (device !== 'cuda') process.env.CUDA_VISIBLE_DEVICES = '-1';
  try {
    await import(name);
  } catch (cause) {
    throw new GraphError(`${name} is there and does not load: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Kernels that a backend lacks and that plain JavaScript has, such as the sum of an embedding's gradients, run there. Their
 * tensors are copied over and back, which is cheap beside what the backend does itself.
 */
function completeWasm(): void {
  const there = new Set((tf.getKernelsForBackend('wasm') ?? []).map(({ kernelName }) => kernelName));
  for (const { kernelName, kernelFunc } of tf.getKernelsForBackend('cpu') ?? []) {
    if (!there.has(kernelName)) tf.registerKernel({ kernelName, backendName: 'wasm', kernelFunc: onCpu(kernelFunc) });
  }
}

const onCpu =
  (kernelFunc: tf.KernelFunc): tf.KernelFunc =>
  ({ inputs, attrs, backend }) => {
    const wasm = backend as tf.KernelBackend;
    const cpu = tf.findBackend('cpu');
    const move = (info: tf.TensorInfo, from: tf.KernelBackend, to: tf.KernelBackend): tf.TensorInfo => ({
      ...info,
      dataId: to.write(from.readSync(info.dataId), info.shape, info.dtype),
    });
    const moved = Object.fromEntries(
      Object.entries(inputs).map(([name, input]) => [name, input && move(input as tf.TensorInfo, wasm, cpu)]),
    );
    const given = kernelFunc({ inputs: moved, ...(attrs && { attrs }), backend: cpu });
    const outputs = [given].flat().map((output) => move(output, cpu, wasm));
    for (const info of [...Object.values(moved), given].flat()) if (info) cpu.disposeData(info.dataId);
    return Array.isArray(given) ? outputs : (outputs[0] as tf.TensorInfo);
  };

/**
 * tfjs-core's bundle for Node leaves its gradients out, and the package `tfjs`, which has them, brings 270 MB of browser
 * code. They are among tfjs-core's modules, whose imports name no file endings: those are added while they load.
 */
async function registerGradients(): Promise<void> {
  if (tf.getGradient('Reshape')) return;
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      const incomplete = context.parentURL?.includes('/tfjs-core/dist/') && /^\.\.?\/(?!.*\.js$)/.test(specifier);
      return next(incomplete ? `${specifier}.js` : specifier, context);
    },
  });
  try {
    await import(`${'@tensorflow/tfjs-core'}/dist/register_all_gradients.js`);
  } finally {
    hooks.deregister();
  }
}

/** What a backend may use. */
export type Compute = { readonly threads: number; readonly device?: Device | undefined };

async function loadBackend(backend: TfjsBackend, compute: Compute): Promise<void> {
  tf.enableProdMode();
  await registerGradients();
  const native = nativePackageOf(backend);
  requireInstalled(backend);
  if (native) return await loadNative(native, compute);
  await import('@tensorflow/tfjs-backend-cpu');
  replaceSegmentSum();
  if (backend === 'cpu') return;
  await import('@tensorflow/tfjs-backend-wasm');
  completeWasm();
}

const loaded = new Map<TfjsBackend, Promise<void>>();

/**
 * Makes a backend the one that computes, and loads it where it is not yet. tfjs has one for the whole process, and
 * TensorFlow's library, once loaded, keeps the threads and the device that it was first loaded with.
 * @throws GraphError when the backend is not installed, does not load, or finds no GPU where one is asked for.
 */
export async function activate(backend: TfjsBackend, compute: Compute): Promise<void> {
  const loading = loaded.get(backend) ?? loadBackend(backend, compute);
  loaded.set(backend, loading);
  await loading;
  if (!(await tf.setBackend(REGISTERED[backend]))) {
    throw new GraphError(`tfjs cannot start its backend "${REGISTERED[backend]}" here`);
  }
  if (compute.device === 'cuda' && !(tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice) {
    throw new GraphError(
      `tfjs on ${nativePackageOf(backend) ?? backend} finds no GPU: it needs an NVIDIA GPU and CUDA`,
    );
  }
}
