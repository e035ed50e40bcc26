import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { Graph } from './graph.ts';
import { serialize } from './serialize.ts';
import { openSession, type SessionOptions } from './session.ts';

type Tensors = Readonly<Record<string, Tensor>>;

/** A model that gives what it gets, each tensor under its own name with this ending. */
const COPY = '.copy';

function copyModel(tensors: Tensors): Uint8Array {
  const graph = new Graph('state-copy');
  for (const [name, { dims }] of Object.entries(tensors)) {
    graph.output(name + COPY, graph.node('Identity', [graph.input(name, 'float32', dims)]));
  }
  return serialize(graph);
}

/**
 * Copies tensors to the memory of a GPU and back. Tensors that are there cannot be read in place: reading one of them
 * (`getData`) ends the process in onnxruntime-node 1.30, so both ways are models that copy.
 */
export class DeviceState {
  readonly #up: InferenceSession;
  readonly #down: InferenceSession;

  private constructor(up: InferenceSession, down: InferenceSession) {
    this.#up = up;
    this.#down = down;
  }

  /** Whether onnxruntime-node can keep tensors on the device between runs, which it can for WebGPU alone. */
  static isOn({ device }: SessionOptions): boolean {
    return device === 'webgpu';
  }

  /** @param tensors of the dims and names of all that are kept on the device together. */
  static async open(tensors: Tensors, options: SessionOptions): Promise<DeviceState> {
    const model = copyModel(tensors);
    const up = await openSession(model, { ...options, outputsOnDevice: true });
    return new DeviceState(up, await openSession(model, options));
  }

  /** @param tensors on the host: all of them. */
  async upload(tensors: Tensors): Promise<Tensors> {
    const copies = await this.#up.run(tensors);
    return Object.fromEntries(Object.keys(tensors).map((name) => [name, copies[name + COPY] as Tensor]));
  }

  /** @param tensors on the device: all of them. */
  async download(name: string, tensors: Tensors): Promise<Float32Array> {
    const copies = await this.#down.run(tensors, [name + COPY]);
    return copies[name + COPY]?.data as Float32Array;
  }

  async release(): Promise<void> {
    await this.#up.release();
    await this.#down.release();
  }
}
