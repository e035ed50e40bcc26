import { DeviceState } from './device-state.ts';
import { DivergedError } from './errors.ts';
import { RowNumbers } from './row-numbers.ts';
import type { InferenceSession, Tensor } from './runtime.ts';
import { openSession, type SessionOptions, toRuntime } from './session.ts';
import { elementCount, scalar, type TensorValue, tensor, zeros } from './tensor.ts';
import {
  type ParameterSpec,
  STATE_PARTS,
  type StatePart,
  stateDims,
  stateInput,
  stateOutput,
  stepDims,
  type TrainingDefinition,
  trainingStep,
  usedRowsInput,
} from './training-step.ts';
import { runInPlace, withoutCopies } from './uncopied-outputs.ts';

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
 * A copy of one of a state's tensors, in the dims in which steps take it.
 * @throws RangeError when it is not there or does not fit.
 */
function copyOf(state: TrainingState, spec: ParameterSpec, part: StatePart): Float32Array {
  const { name, dims } = spec;
  const values = state.tensors[stateInput(name, part)];
  if (values?.length === elementCount(dims)) {
    const copy = new Float32Array(elementCount(stateDims(spec)));
    copy.set(values);
    return copy;
  }
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
      const buffer = toRuntime(tensor('float32', stateDims(spec), fill(spec, part)));
      set.feeds[stateInput(spec.name, part)] = buffer;
      set.fetches[stateOutput(spec.name, part)] = buffer;
    }
  }
  return set;
}

/**
 * Runs training steps in ONNX Runtime. State lives in two preallocated sets of buffers: a step reads one and writes the
 * other, and nothing is copied or allocated. Tables of which a step uses some rows are in both sets the same: their used rows
 * are written in place. On WebGPU the two sets are in the GPU's memory, tables twice. Each bucket has a model of its own, made when its first batch comes. `run` occupies its thread for the length
 * of a step.
 */
export class TrainingSession {
  readonly #definition: TrainingDefinition;
  readonly #options: SessionOptions;
  readonly #sessions = new Map<number, InferenceSession>();
  readonly #rowNumbers: ReadonlyMap<string, RowNumbers>;
  /** What tells a step its used rows, by table and room. */
  readonly #used = new Map<string, Tensor>();
  /** There where the sets of buffers are in a GPU's memory. */
  #device: DeviceState | undefined;
  readonly #loss: Tensor = toRuntime(zeros('float32', []));
  readonly #norm: Tensor = toRuntime(zeros('float32', []));
  #current: StateSet;
  #next: StateSet;
  #step: number;

  private constructor(definition: TrainingDefinition, state: TrainingState, options: SessionOptions) {
    const { parameters } = definition;
    this.#definition = definition;
    this.#options = options;
    this.#current = stateSet(parameters, (spec, part) => copyOf(state, spec, part));
    this.#next = stateSet(parameters, (spec, part) =>
      spec.rows
        ? (this.#current.feeds[stateInput(spec.name, part)]?.data as Float32Array)
        : new Float32Array(elementCount(spec.dims)),
    );
    this.#rowNumbers = new Map(
      parameters.filter(({ rows }) => rows).map(({ name, dims }) => [name, new RowNumbers(dims[0] as number)]),
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
    this.#nameRows(batch, bucket, feeds);
    if (this.#device) await session.run(feeds, fetches);
    else await runInPlace(session, feeds, fetches);
    const [loss, norm] = [this.#loss, this.#norm].map(({ data }) => (data as Float32Array)[0]) as [number, number];
    if (!Number.isFinite(loss) || !Number.isFinite(norm)) throw new DivergedError(this.#step + 1, loss, norm);
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
    if (buffer?.location !== 'cpu') throw new RangeError(`no parameter "${parameter}" of this training is on the host`);
    return this.#withoutSpareRows(parameter, buffer.data as Float32Array);
  }

  /** A copy of one tensor of a parameter's state. */
  async read(parameter: string, part: StatePart = 'value'): Promise<Float32Array> {
    const name = stateInput(parameter, part);
    if (!this.#device || !this.#current.feeds[name]) return this.view(parameter, part).slice();
    return this.#withoutSpareRows(parameter, await this.#device.download(name, this.#current.feeds)).slice();
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

  #withoutSpareRows(parameter: string, values: Float32Array): Float32Array {
    const { dims } = this.#definition.parameters.find(({ name }) => name === parameter) as ParameterSpec;
    return values.subarray(0, elementCount(dims));
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
    const step = trainingStep(this.#definition, bucket);
    const model = this.#device ? step : withoutCopies(step, 'loss');
    const session = await openSession(model, { ...this.#options, keepsMemory: false });
    this.#sessions.set(bucket, session);
    return session;
  }

  /** Tells the step which rows of each table the batch uses, and has the batch name them by their places among these. */
  #nameRows(batch: Readonly<Record<string, TensorValue>>, bucket: number, feeds: Buffers): void {
    for (const spec of this.#definition.parameters) {
      if (!spec.rows) continue;
      const ids = batch[spec.rows.input];
      if (!ids) throw new RangeError(`the batch lacks "${spec.rows.input}", which names the rows of "${spec.name}"`);
      const [atMost] = stepDims(spec, bucket) as readonly [number, ...number[]];
      const { used, places } = (this.#rowNumbers.get(spec.name) as RowNumbers).of(ids, atMost);
      feeds[spec.rows.input] = toRuntime(places);
      feeds[usedRowsInput(spec.name)] = this.#usedRows(spec, used, atMost);
    }
  }

  /** The used rows, and the first spare one in the places beyond them. */
  #usedRows({ name, dims }: ParameterSpec, used: Int32Array, atMost: number): Tensor {
    const key = `${name} ${atMost}`;
    const buffer = this.#used.get(key) ?? toRuntime(zeros('int64', [atMost, 1]));
    this.#used.set(key, buffer);
    const rows = buffer.data as BigInt64Array;
    const lowWords = new Int32Array(rows.buffer);
    for (let i = 0; i < atMost; i++) lowWords[2 * i] = i < used.length ? (used[i] as number) : (dims[0] as number);
    return buffer;
  }
}
