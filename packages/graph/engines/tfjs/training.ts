import * as tf from '@tensorflow/tfjs-core';
import { DivergedError } from '../../errors.ts';

import { elementCount, type TensorValue, tensor } from '../../tensor.ts';
import type { TrainingState } from '../../training-session.ts';
import {
  type ParameterSpec,
  STATE_PARTS,
  type StatePart,
  stateInput,
  stepDims,
  type TrainingDefinition,
} from '../../training-step.ts';
import type { Training } from '../engine.ts';
import { adamW, clipped, globalNorm, type ParameterState } from './adamw.ts';
import { activate, type Compute } from './backends.ts';
import { toTfjs } from './context.ts';
import { Forward } from './forward.ts';
import { bestBackend, type TfjsBackend } from './packages.ts';
import { RowTable, type Window } from './row-table.ts';

/** What a parameter's state is kept in: on the backend, or, for a table of which a step uses some rows, on the host. */
type Kept = Readonly<Record<StatePart, tf.Variable>> | RowTable;

function kept(spec: ParameterSpec, { tensors }: TrainingState): Kept {
  const [value, first, second] = STATE_PARTS.map((part) => {
    const name = stateInput(spec.name, part);
    const given = tensors[name];
    if (given?.length === elementCount(spec.dims)) return given.slice();
    throw new RangeError(
      `state tensor "${name}": expected ${elementCount(spec.dims)} values, got ${given?.length ?? 'none'}`,
    );
  }) as [Float32Array, Float32Array, Float32Array];
  if (spec.rows) return new RowTable(spec.dims, { value, first, second });
  const variable = (data: Float32Array): tf.Variable =>
    tf.tidy(() => tf.variable(toTfjs(tensor('float32', spec.dims, data))));
  return { value: variable(value), first: variable(first), second: variable(second) };
}

/** A step as computed and not yet taken: the state that it leads to, in the order of the parameters. */
type Step = { readonly loss: tf.Tensor; readonly norm: tf.Tensor; readonly next: Record<StatePart, tf.Tensor>[] };
type Batch = Readonly<Record<string, TensorValue>>;
type Clock = { readonly seed: number; readonly step: number; readonly learningRate: number };

/**
 * Trains with TensorFlow.js: it computes the forward graph with its own operators, differentiates what it computed, and
 * takes the same optimizer's steps. State stays in the backend's memory, which for `node-gpu` is the GPU's; tables of
 * which a step uses some rows are kept on the host, as `TrainingSession` keeps them. tfjs has one backend for the whole
 * process. `run` occupies its thread for the length of a step.
 */
export class TfjsTraining implements Training {
  readonly #definition: TrainingDefinition;
  readonly #backend: TfjsBackend;
  readonly #compute: Compute;
  readonly #forwards = new Map<number, Forward>();
  readonly #kept: readonly Kept[];
  /** The rows that the last step saw of each table that is kept on the host. */
  readonly #windows = new Map<RowTable, Window>();
  #step: number;

  private constructor(definition: TrainingDefinition, state: TrainingState, backend: TfjsBackend, compute: Compute) {
    this.#definition = definition;
    this.#backend = backend;
    this.#compute = compute;
    this.#kept = definition.parameters.map((spec) => kept(spec, state));
    this.#step = state.step;
  }

  /** @throws RangeError when the state does not fit; GraphError for a node or backend that tfjs does not have here. */
  static async open(
    definition: TrainingDefinition,
    state: TrainingState,
    { backend, ...compute }: Compute & { readonly backend?: TfjsBackend },
  ): Promise<TfjsTraining> {
    const chosen = backend ?? bestBackend(compute.device);
    await activate(chosen, compute);
    const training = new TfjsTraining(definition, state, chosen, compute);
    training.#forward(0);
    return training;
  }

  get step(): number {
    return this.#step;
  }

  async run(batch: Batch, seed: number, learningRate: number, bucket = 0): Promise<number> {
    await activate(this.#backend, this.#compute);
    const clock = { seed, step: this.#step + 1, learningRate };
    const computed = tf.tidy(() => this.#stepFrom(batch, clock, bucket));
    try {
      const [[loss], [norm]] = await Promise.all([computed.loss.data<'float32'>(), computed.norm.data<'float32'>()]);
      if (!Number.isFinite(loss) || !Number.isFinite(norm))
        throw new DivergedError(clock.step, loss as number, norm as number);
      for (const [i, next] of computed.next.entries()) await this.#keep(this.#kept[i] as Kept, next);
      this.#step = clock.step;
      return loss as number;
    } finally {
      tf.dispose(computed);
    }
  }

  #stepFrom(batch: Batch, clock: Clock, bucket: number): Step {
    const { parameters, adamW: options } = this.#definition;
    const forward = this.#forward(bucket);
    const { states, features } = this.#take(batch, bucket);
    const inputs = new Map(Object.entries(features).map(([name, value]) => [name, toTfjs(value)]));
    for (const [name, mask] of forward.masks(clock.seed, clock.step)) inputs.set(name, mask);
    const { value: loss, grads } = tf.valueAndGrads((...values: tf.Tensor[]) => {
      const named = values.map(
        (value, i) => [stateInput((parameters[i] as ParameterSpec).name, 'value'), value] as const,
      );
      return tf.reshape<tf.Rank.R0>(forward.loss(new Map([...inputs, ...named])), []);
    })(states.map(({ value }) => value));
    const norm = globalNorm(grads);
    const gradients = options.clipNorm === undefined ? grads : clipped(grads, norm, options.clipNorm);
    const next = parameters.map(({ decay, rateFactor = 1 }, i) => {
      const learningRate = clock.learningRate * rateFactor;
      return adamW(states[i] as ParameterState, gradients[i] as tf.Tensor, options, { ...clock, learningRate, decay });
    });
    return { loss, norm, next };
  }

  /** The state that a step of a batch sees, and the batch with its row numbers pointing into that. */
  #take(batch: Batch, bucket: number): { states: ParameterState[]; features: Batch } {
    const features = { ...batch };
    const states = this.#definition.parameters.map((spec, i): ParameterState => {
      const own = this.#kept[i] as Kept;
      if (!(own instanceof RowTable)) return own;
      const input = spec.rows?.input as string;
      const ids = batch[input];
      if (!ids) throw new RangeError(`the batch lacks "${input}", which names the rows of "${spec.name}"`);
      const { window, places } = own.take(ids, stepDims(spec, bucket)[0] as number);
      features[input] = places;
      this.#windows.set(own, window);
      const { value, first, second } = window.read;
      return { value: toTfjs(value), first: toTfjs(first), second: toTfjs(second) };
    });
    return { states, features };
  }

  #forward(bucket: number): Forward {
    const known = this.#forwards.get(bucket);
    if (known) return known;
    const forward = new Forward(this.#definition, bucket);
    this.#forwards.set(bucket, forward);
    return forward;
  }

  /** Makes a step's outcome the state. */
  async #keep(own: Kept, next: Readonly<Record<StatePart, tf.Tensor>>): Promise<void> {
    if (!(own instanceof RowTable)) {
      for (const part of STATE_PARTS) own[part].assign(next[part]);
      return;
    }
    const { written } = this.#windows.get(own) as Window;
    for (const part of STATE_PARTS) (written[part].data as Float32Array).set(await next[part].data<'float32'>());
    own.put();
  }

  async read(parameter: string, part: StatePart = 'value'): Promise<Float32Array> {
    const own = this.#kept[this.#definition.parameters.findIndex(({ name }) => name === parameter)];
    if (!own) throw new RangeError(`no parameter "${parameter}" in this training`);
    return Float32Array.from(own instanceof RowTable ? own.parts[part] : await own[part].data<'float32'>());
  }

  async state(): Promise<TrainingState> {
    const tensors: Record<string, Float32Array> = {};
    for (const { name } of this.#definition.parameters) {
      for (const part of STATE_PARTS) tensors[stateInput(name, part)] = await this.read(name, part);
    }
    return { step: this.#step, tensors };
  }

  async release(): Promise<void> {
    for (const forward of this.#forwards.values()) forward.dispose();
    for (const own of this.#kept) if (!(own instanceof RowTable)) tf.dispose(own);
  }
}
