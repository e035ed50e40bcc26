import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { GraphError } from '../errors.ts';
import { checkDevice, DEVICES, type Device, RUNTIME_VERSION } from '../session.ts';
import { ENGINES, type Engine } from './engine.ts';
import { bestBackend, lackOf, nativePackageOf, requireInstalled } from './tfjs/packages.ts';

/** Where and by what a training can run. */
export type Place = { readonly engine: Engine; readonly device: Device };

/** Whether a place can be used here: what it runs on, or why not and what to do. */
export type Finding = Place & { readonly usable: boolean; readonly detail: string };

/** What a user may ask for; `gpu` is any that works. */
export const ENGINE_WISHES = ['auto', ...ENGINES] as const;
export const DEVICE_WISHES = ['auto', 'gpu', ...DEVICES] as const;
export type Wish = {
  readonly engine: (typeof ENGINE_WISHES)[number];
  readonly device: (typeof DEVICE_WISHES)[number];
};

/** A place that a training was given, and why that one. */
export type Choice = Place & { readonly reason: string };

/** All places, best first: a GPU by its own maker's library before the one for all, and our engine before the other. */
const PLACES: readonly Place[] = [
  { engine: 'ort', device: 'cuda' },
  { engine: 'tfjs', device: 'cuda' },
  { engine: 'ort', device: 'webgpu' },
  { engine: 'ort', device: 'cpu' },
  { engine: 'tfjs', device: 'cpu' },
];

/** Where a device is left open, WebGPU is not tried: on an H100 it trained a bag at a quarter of the CPU's speed. */
const fits = (wish: Wish, { engine, device }: Place): boolean => {
  if (wish.engine !== 'auto' && wish.engine !== engine) return false;
  if (wish.device === 'auto') return device !== 'webgpu';
  return wish.device === 'gpu' ? device !== 'cpu' : wish.device === device;
};

/** The innermost cause, without where in its sources onnxruntime says it. */
function reasonOf(error: unknown): string {
  let innermost = error as Error;
  while (innermost.cause instanceof Error) innermost = innermost.cause;
  return innermost.message.trim().split('was false. ').at(-1) as string;
}

/** The folder of onnxruntime-node's libraries for this machine. */
const runtimeFolder = (): string =>
  join(
    dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json')),
    'bin',
    'napi-v6',
    process.platform,
    process.arch,
  );

const CUDA_PROVIDER = 'libonnxruntime_providers_cuda.so';

/** Looked for before it is tried: onnxruntime writes to the terminal when it is missing. */
function missingCudaProvider(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `onnxruntime-node has a CUDA provider for linux/x64 only, not for ${process.platform}/${process.arch}`;
  }
  if (existsSync(join(runtimeFolder(), CUDA_PROVIDER))) return undefined;
  return (
    `${CUDA_PROVIDER} is not installed: ` +
    'ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js'
  );
}

async function tryOrt(device: Device): Promise<string> {
  const missing = device === 'cuda' ? missingCudaProvider() : undefined;
  if (missing) throw new GraphError(missing);
  await checkDevice(device);
  return RUNTIME_VERSION;
}

async function tryTfjs(device: Device, threads: number): Promise<string> {
  const backend = bestBackend(device);
  requireInstalled(backend);
  // Loaded only where it may train: tfjs and its gradients take a second or two to load.
  const { activate, TFJS_VERSION } = await import('./tfjs/backends.ts');
  await activate(backend, { threads, device });
  const lack = backend === 'wasm' ? `; for TensorFlow's own library, ${lackOf('node')}` : '';
  return `${TFJS_VERSION} on ${nativePackageOf(backend) ?? backend}${lack}`;
}

/** Tries a place for real, by computing something there. */
async function look(place: Place, threads: number): Promise<Finding> {
  const { engine, device } = place;
  try {
    return { ...place, usable: true, detail: await (engine === 'ort' ? tryOrt(device) : tryTfjs(device, threads)) };
  } catch (error) {
    return { ...place, usable: false, detail: reasonOf(error) };
  }
}

/** Looks at every place, best first. Loads whatever it finds into this process. */
export async function findPlaces(threads = 1): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const place of PLACES) findings.push(await look(place, threads));
  return findings;
}

const spelled = ({ engine, device }: Place): string => `${engine} on ${device}`;

/**
 * The best place that a wish allows and that works here. Looks no further than that.
 * @param findings of an earlier look, which is then not repeated.
 * @throws GraphError saying of every place that was asked for why it cannot be used.
 */
export async function choosePlace(wish: Wish, threads: number, findings?: readonly Finding[]): Promise<Choice> {
  const refused: string[] = [];
  for (const place of PLACES.filter((candidate) => fits(wish, candidate))) {
    const known = findings?.find(({ engine, device }) => engine === place.engine && device === place.device);
    const { usable, detail } = known ?? (await look(place, threads));
    if (usable) return { ...place, reason: [`${spelled(place)} (${detail})`, ...refused].join('; ') };
    refused.push(`not ${spelled(place)}: ${detail}`);
  }
  const asked = `engine ${wish.engine} on device ${wish.device}`;
  throw new GraphError(`nothing can train here as asked (${asked}): ${refused.join('; ') || 'there is no such place'}`);
}
