import { globSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
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

/** The folder of a package, as seen from this one; undefined where it is not installed. */
function folderOf(name: string): string | undefined {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

/** What a backend lacks to be loaded, and how to get it; undefined where it lacks nothing. */
export function lackOf(backend: TfjsBackend): string | undefined {
  const name = nativePackageOf(backend);
  if (!name) return undefined;
  const folder = folderOf(name);
  if (!folder) return `${name} is not installed: npm install --no-save --ignore-scripts=false ${name}`;
  // npm leaves the binary out under `ignore-scripts`, which this repository sets.
  if (globSync(join(folder, 'lib', '*', 'tfjs_binding.node')).length > 0) return undefined;
  return `${name} lacks its TensorFlow binary: npm rebuild ${name} --ignore-scripts=false --build-addon-from-source`;
}

/** @throws GraphError saying what the backend lacks. */
export function requireInstalled(backend: TfjsBackend): void {
  const lack = lackOf(backend);
  if (lack) throw new GraphError(lack);
}

/**
 * The best backend that is installed for a device.
 * @throws GraphError for a device that tfjs has no backend for.
 */
export function bestBackend(device: Device = 'cpu'): TfjsBackend {
  if (device === 'webgpu') throw new GraphError('tfjs has a backend for webgpu in browsers only; train on it with ort');
  if (device === 'cuda') return 'node-gpu';
  return (['node', 'node-gpu'] as const).find((backend) => !lackOf(backend)) ?? 'wasm';
}
