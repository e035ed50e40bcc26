import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Training } from './engines/engine.ts';
import { openSession, type SessionOptions, toRuntime } from './session.ts';
import { elementCount, scalar, type TensorValue, tensor, zeros } from './tensor.ts';
import { STATE_PARTS, type StatePart, stateInput, stateOutput, type TrainingStep } from './training-step.ts';

/** All that a training carries from step to step. `tensors` is keyed by `<parameter>.<part>`, row-major. */
export type TrainingState = { readonly step: number; readonly tensors: Readonly<Record<string, Float32Array>> };

/** A state before the first step, from each parameter's initial values. */
export function initialState(initial: Readonly<Record<string, Float32Array>>): TrainingState {
  const tensors = Object.entries(initial).flatMap(([name, value]) => [
    [stateInput(name, 'value'), value] as const,
    [stateInput(name, 'first'), new Float32Array(value.length)] as const,
    [stateInput(name, 'second'), new Float32Array(value.length)] as const,
  ]);
  return { step: 0, tensors: Object.fromEntries(tensors) };
}

type Buffers = Record<string, Tensor>;

/** State tensors as feeds (named as inputs) and as fetches (named as outputs), over the same memory. */
type StateSet = { readonly feeds: Buffers; readonly fetches: Buffers };

function stateSet(step: TrainingStep, fill: (name: string, dims: readonly number[]) => TensorValue): StateSet {
  const set: StateSet = { feeds: {}, fetches: {} };
  for (const { name, dims } of step.parameters) {
    for (const part of STATE_PARTS) {
      const buffer = toRuntime(fill(stateInput(name, part), dims));
      set.feeds[stateInput(name, part)] = buffer;
      set.fetches[stateOutput(name, part)] = buffer;
    }
  }
  return set;
}

/**
 * Runs training steps on the CPU. State lives in two preallocated sets of buffers: a step reads one and writes the
 * other, and nothing is copied or allocated. `run` occupies its thread for the length of a step.
 */
export class TrainingSession implements Training {
  readonly #session: InferenceSession;
  readonly #lossFetch: Tensor = toRuntime(zeros('float32', []));
  #current: StateSet;
  #next: StateSet;
  #step: number;

  private constructor(session: InferenceSession, current: StateSet, next: StateSet, step: number) {
    this.#session = session;
    this.#current = current;
    this.#next = next;
    this.#step = step;
  }

  /** @throws RangeError when the state's tensors do not fit the step's parameters. */
  static async open(step: TrainingStep, state: TrainingState, options: SessionOptions): Promise<TrainingSession> {
    const current = stateSet(step, (name, dims) => {
      const values = state.tensors[name];
      if (values?.length !== elementCount(dims)) {
        throw new RangeError(
          `state tensor "${name}": expected ${elementCount(dims)} values, got ${values?.length ?? 'none'}`,
        );
      }
      return tensor('float32', dims, Float32Array.from(values));
    });
    const next = stateSet(step, (_, dims) => zeros('float32', dims));
    return new TrainingSession(await openSession(step.model, options), current, next, state.step);
  }

  get step(): number {
    return this.#step;
  }

  async run(batch: Readonly<Record<string, TensorValue>>, seed: number, learningRate: number): Promise<number> {
    const feeds: Buffers = {
      ...this.#current.feeds,
      seed: toRuntime(scalar('int64', seed)),
      step: toRuntime(scalar('int64', this.#step + 1)),
      learning_rate: toRuntime(scalar('float32', learningRate)),
    };
    for (const [name, value] of Object.entries(batch)) feeds[name] = toRuntime(value);
    await this.#session.run(feeds, { ...this.#next.fetches, loss: this.#lossFetch });
    [this.#current, this.#next] = [this.#next, this.#current];
    this.#step += 1;
    return (this.#lossFetch.data as Float32Array)[0] as number;
  }

  async read(parameter: string, part: StatePart = 'value'): Promise<Float32Array> {
    const buffer = this.#current.feeds[stateInput(parameter, part)];
    if (!buffer) throw new RangeError(`no parameter "${parameter}" in this training`);
    return Float32Array.from(buffer.data as Float32Array);
  }

  async state(): Promise<TrainingState> {
    const tensors = Object.entries(this.#current.feeds).map(
      ([name, buffer]) => [name, Float32Array.from(buffer.data as Float32Array)] as const,
    );
    return { step: this.#step, tensors: Object.fromEntries(tensors) };
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}
