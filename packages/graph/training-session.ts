import { DeviceState } from './device-state.ts';
import { DivergedError } from './errors.ts';
import { RowTable } from './row-table.ts';
import type { InferenceSession, Tensor } from './runtime.ts';
import { openSession, type SessionOptions, toRuntime } from './session.ts';
import { elementCount, scalar, type TensorValue, tensor, zeros } from './tensor.ts';
import {
  type ParameterSpec,
  STATE_PARTS,
  type StatePart,
  stateInput,
  stateOutput,
  stepDims,
  type TrainingDefinition,
  trainingStep,
} from './training-step.ts';

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

/**
 * A copy of one of a state's tensors.
 * @throws RangeError when it is not there or does not fit.
 */
function copyOf(state: TrainingState, { name, dims }: ParameterSpec, part: StatePart): Float32Array {
  const values = state.tensors[stateInput(name, part)];
  if (values?.length === elementCount(dims)) return values.slice();
  throw new RangeError(
    `state tensor "${stateInput(name, part)}": expected ${elementCount(dims)} values, got ${values?.length ?? 'none'}`,
  );
}

type Buffers = Record<string, Tensor>;

/** State tensors as feeds (named as inputs) and as fetches (named as outputs), over the same memory. */
type StateSet = { readonly feeds: Buffers; readonly fetches: Buffers };

function stateSet(
  parameters: readonly ParameterSpec[],
  fill: (spec: ParameterSpec, part: StatePart) => Float32Array,
): StateSet {
  const set: StateSet = { feeds: {}, fetches: {} };
  for (const spec of parameters) {
    for (const part of STATE_PARTS) {
      const buffer = toRuntime(tensor('float32', spec.dims, fill(spec, part)));
      set.feeds[stateInput(spec.name, part)] = buffer;
      set.fetches[stateOutput(spec.name, part)] = buffer;
    }
  }
  return set;
}

function rowTable(spec: ParameterSpec, state: TrainingState): RowTable {
  const [value, first, second] = STATE_PARTS.map((part) => copyOf(state, spec, part)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  return new RowTable(spec.dims, { value, first, second });
}

/**
 * Runs training steps in ONNX Runtime. State lives in two preallocated sets of buffers: a step reads one and writes the
 * other, and nothing is copied or allocated; tables of which a step uses some rows are kept once, and their used rows
 * copied. On WebGPU the two sets are in the GPU's memory. Each bucket has a model of its own, made when its first batch comes. `run` occupies its thread for the length
 * of a step.
 */
export class TrainingSession {
  readonly #definition: TrainingDefinition;
  readonly #options: SessionOptions;
  readonly #sessions = new Map<number, InferenceSession>();
  readonly #tables: ReadonlyMap<string, RowTable>;
  /** There where the sets of buffers are in a GPU's memory. */
  #device: DeviceState | undefined;
  readonly #loss: Tensor = toRuntime(zeros('float32', []));
  readonly #norm: Tensor = toRuntime(zeros('float32', []));
  #current: StateSet;
  #next: StateSet;
  #step: number;

  private constructor(definition: TrainingDefinition, state: TrainingState, options: SessionOptions) {
    const whole = definition.parameters.filter(({ rows }) => !rows);
    this.#definition = definition;
    this.#options = options;
    this.#current = stateSet(whole, (spec, part) => copyOf(state, spec, part));
    this.#next = stateSet(whole, ({ dims }) => new Float32Array(elementCount(dims)));
    this.#tables = new Map(
      definition.parameters.filter(({ rows }) => rows).map((spec) => [spec.name, rowTable(spec, state)]),
    );
    this.#step = state.step;
  }

  /** @throws RangeError when the state's tensors do not fit the parameters. */
  static async open(
    definition: TrainingDefinition,
    state: TrainingState,
    options: SessionOptions,
  ): Promise<TrainingSession> {
    const training = new TrainingSession(definition, state, options);
    if (DeviceState.isOn(options)) await training.#moveToDevice();
    await training.#sessionOf(0);
    return training;
  }

  /** Steps taken so far. */
  get step(): number {
    return this.#step;
  }

  /**
   * Takes one step on a batch of a bucket and gives its loss before the update.
   * @throws DivergedError when loss or gradients are not finite: the step is not taken, and the state stays what it was.
   */
  async run(
    batch: Readonly<Record<string, TensorValue>>,
    seed: number,
    learningRate: number,
    bucket = 0,
  ): Promise<number> {
    const session = await this.#sessionOf(bucket);
    const feeds: Buffers = {
      ...this.#current.feeds,
      seed: toRuntime(scalar('int64', seed)),
      step: toRuntime(scalar('int64', this.#step + 1)),
      learning_rate: toRuntime(scalar('float32', learningRate)),
    };
    for (const [name, value] of Object.entries(batch)) feeds[name] = toRuntime(value);
    const fetches = { ...this.#next.fetches, loss: this.#loss, gradient_norm: this.#norm };
    this.#takeRows(batch, bucket, feeds, fetches);
    await session.run(feeds, fetches);
    const [loss, norm] = [this.#loss, this.#norm].map(({ data }) => (data as Float32Array)[0]) as [number, number];
    if (!Number.isFinite(loss) || !Number.isFinite(norm)) throw new DivergedError(this.#step + 1, loss, norm);
    for (const table of this.#tables.values()) table.put();
    [this.#current, this.#next] = [this.#next, this.#current];
    this.#step += 1;
    return loss;
  }

  /**
   * The current values of a parameter's state on the host: a view that the next step, or the one after it, overwrites.
   * @throws RangeError for an unknown parameter, and where the state is in a GPU's memory: `read` copies it from there.
   */
  view(parameter: string, part: StatePart = 'value'): Float32Array {
    const buffer = this.#current.feeds[stateInput(parameter, part)];
    const values = buffer?.location === 'cpu' ? buffer.data : this.#tables.get(parameter)?.parts[part];
    if (!values) throw new RangeError(`no parameter "${parameter}" of this training is on the host`);
    return values as Float32Array;
  }

  /** A copy of one tensor of a parameter's state. */
  async read(parameter: string, part: StatePart = 'value'): Promise<Float32Array> {
    const name = stateInput(parameter, part);
    if (this.#device && this.#current.feeds[name]) return await this.#device.download(name, this.#current.feeds);
    return this.view(parameter, part).slice();
  }

  /** A copy of the whole state, from which a training continues as if it had not stopped. */
  async state(): Promise<TrainingState> {
    const tensors: Record<string, Float32Array> = {};
    for (const { name } of this.#definition.parameters) {
      for (const part of STATE_PARTS) tensors[stateInput(name, part)] = await this.read(name, part);
    }
    return { step: this.#step, tensors };
  }

  async release(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release();
    this.#sessions.clear();
    await this.#device?.release();
  }

  async #moveToDevice(): Promise<void> {
    const { feeds } = this.#current;
    if (Object.keys(feeds).length === 0) return;
    const device = await DeviceState.open(feeds, this.#options);
    const moved = async ({ feeds, fetches }: StateSet): Promise<StateSet> => {
      const copies = await device.upload(feeds);
      const named = Object.keys(feeds).map((input, i) => [Object.keys(fetches)[i] as string, copies[input] as Tensor]);
      return { feeds: copies, fetches: Object.fromEntries(named) };
    };
    this.#current = await moved(this.#current);
    this.#next = await moved(this.#next);
    this.#device = device;
  }

  async #sessionOf(bucket: number): Promise<InferenceSession> {
    const open = this.#sessions.get(bucket);
    if (open) return open;
    const session = await openSession(trainingStep(this.#definition, bucket), { ...this.#options, keepsMemory: false });
    this.#sessions.set(bucket, session);
    return session;
  }

  /** Puts the rows that a batch uses of each table in the places of the table, and their places in those of the rows. */
  #takeRows(batch: Readonly<Record<string, TensorValue>>, bucket: number, feeds: Buffers, fetches: Buffers): void {
    for (const spec of this.#definition.parameters) {
      const ids = spec.rows && batch[spec.rows.input];
      if (!spec.rows) continue;
      if (!ids) throw new RangeError(`the batch lacks "${spec.rows.input}", which names the rows of "${spec.name}"`);
      const table = this.#tables.get(spec.name) as RowTable;
      const { window, places } = table.take(ids, stepDims(spec, bucket)[0] as number);
      feeds[spec.rows.input] = toRuntime(places);
      for (const part of STATE_PARTS) {
        feeds[stateInput(spec.name, part)] = toRuntime(window.read[part]);
        fetches[stateOutput(spec.name, part)] = toRuntime(window.written[part]);
      }
    }
  }
}
