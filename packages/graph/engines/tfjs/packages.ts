import { createRequire } from 'node:module';
import { GraphError } from '../../errors.ts';
import type { Device } from '../../session.ts';

/**
 * What TensorFlow.js computes with, best first: TensorFlow's own library with CUDA, the same for the CPU, WebAssembly, and
 * plain JavaScript. The first two are packages that a user installs; the others come with this one.
 */
export const TFJS_BACKENDS = ['node-gpu', 'node', 'wasm', 'cpu'] as const;
export type TfjsBackend = (typeof TFJS_BACKENDS)[number];

const NATIVE_PACKAGES = { 'node-gpu': '@tensorflow/tfjs-node-gpu', node: '@tensorflow/tfjs-node' } as const;

/** The package of a backend on TensorFlow's library; undefined for one that comes with this package. */
export const nativePackageOf = (backend: TfjsBackend): string | undefined =>
  backend === 'node-gpu' || backend === 'node' ? NATIVE_PACKAGES[backend] : undefined;

/** Whether a package is installed where this one finds it. */
export function isInstalled(name: string): boolean {
  try {
    createRequire(import.meta.url).resolve(`${name}/package.json`);
    return true;
  } catch {
    return false;
  }
}

/** @throws GraphError saying how to get a backend's package, where it has one and it is not installed. */
export function requireInstalled(backend: TfjsBackend): void {
  const name = nativePackageOf(backend);
  if (!name || isInstalled(name)) return;
  throw new GraphError(`the package ${name} is not installed: npm install --no-save --ignore-scripts=false ${name}`);
}

/**
 * The best backend that is installed for a device.
 * @throws GraphError for a device that tfjs has no backend for.
 */
export function bestBackend(device: Device = 'cpu'): TfjsBackend {
  if (device === 'webgpu') throw new GraphError('tfjs has a backend for webgpu in browsers only; train on it with ort');
  if (device === 'cuda') return 'node-gpu';
  return (['node', 'node-gpu'] as const).find((backend) => isInstalled(NATIVE_PACKAGES[backend])) ?? 'wasm';
}
