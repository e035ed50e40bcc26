import { createRequire, registerHooks } from 'node:module';
import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { GraphError } from '../../errors.ts';

/**
 * What TensorFlow.js computes with, best first: TensorFlow's own library with CUDA, the same for the CPU, WebAssembly, and
 * plain JavaScript. The first two are packages that a user installs; the others come with this one.
 */
export const TFJS_BACKENDS = ['node-gpu', 'node', 'wasm', 'cpu'] as const;
export type TfjsBackend = (typeof TFJS_BACKENDS)[number];

/** The version of TensorFlow.js; another one may round differently in the last bits. */
export const TFJS_VERSION = `tfjs-core ${tf.version_core}`;

const NATIVE_PACKAGES = { 'node-gpu': '@tensorflow/tfjs-node-gpu', node: '@tensorflow/tfjs-node' } as const;
/** The name under which a backend registers itself with tfjs. */
const REGISTERED = { 'node-gpu': 'tensorflow', node: 'tensorflow', wasm: 'wasm', cpu: 'cpu' } as const;

/** The package of a backend on TensorFlow's library; undefined for one that comes with this package. */
export const nativePackageOf = (backend: TfjsBackend): string | undefined =>
  backend === 'node-gpu' || backend === 'node' ? NATIVE_PACKAGES[backend] : undefined;

/** Where a package is installed, from here; undefined where it is not. */
export function installed(name: string): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(`${name}/package.json`);
  } catch {
    return undefined;
  }
}

/** The best backend that is installed. */
export function bestBackend(): TfjsBackend {
  const native = (['node-gpu', 'node'] as const).find((backend) => installed(NATIVE_PACKAGES[backend]));
  return native ?? 'wasm';
}

/** tfjs-node 4.22 calls two functions that Node 23 took out of `node:util`. */
function restoreNodeUtil(): void {
  const removed = util as unknown as Record<string, unknown>;
  removed.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  removed.isArray ??= Array.isArray;
}

async function loadNative(name: string, threads: number): Promise<void> {
  if (!installed(name)) throw new GraphError(`the package ${name} is not installed: npm install --no-save ${name}`);
  restoreNodeUtil();
  // Read by TensorFlow's library when it is loaded, which it is once a process.
  process.env.TF_NUM_INTRAOP_THREADS ??= String(threads);
  process.env.TF_NUM_INTEROP_THREADS ??= '1';
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  try {
    await import(name);
  } catch (cause) {
    throw new GraphError(
      `${name} cannot be loaded, as when its TensorFlow library is missing: npm rebuild ${name} --ignore-scripts=false`,
      { cause },
    );
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

async function loadBackend(backend: TfjsBackend, threads: number): Promise<void> {
  tf.enableProdMode();
  await registerGradients();
  const native = nativePackageOf(backend);
  if (native) return await loadNative(native, threads);
  await import('@tensorflow/tfjs-backend-cpu');
  if (backend === 'cpu') return;
  await import('@tensorflow/tfjs-backend-wasm');
  completeWasm();
}

const loaded = new Map<TfjsBackend, Promise<void>>();

/**
 * Makes a backend the one that computes, and loads it where it is not yet. tfjs has one for the whole process.
 * @param threads of one operator, where TensorFlow's library is loaded here for the first time; the others use one.
 * @throws GraphError when the backend is not installed or does not load.
 */
export async function activate(backend: TfjsBackend, threads: number): Promise<void> {
  const loading = loaded.get(backend) ?? loadBackend(backend, threads);
  loaded.set(backend, loading);
  await loading;
  if (!(await tf.setBackend(REGISTERED[backend]))) {
    throw new GraphError(`tfjs cannot start its backend "${REGISTERED[backend]}" here`);
  }
}
