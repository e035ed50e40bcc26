import { differentiate } from './differentiate.ts';
import { dropoutMask } from './dropout.ts';
import { cast, reshape, scalarLike } from './emit.ts';
import { Graph, type Value } from './graph.ts';
import {
  type AdamWOptions,
  type AdamWState,
  adamW,
  adamWScale,
  clipFactor,
  clipped,
  globalNorm,
  slowed,
  squared,
} from './optimizer.ts';
import { serialize } from './serialize.ts';
import { scalar } from './tensor.ts';

/**
 * The rows of a table that a step uses, where they are few of many. `input` is the batch's input, int32 or int64, that
 * names them. A step of a bucket then sees, under the table's name, a table of `atMost` rows with the used ones among
 * them, and row numbers that point into that; only these rows and their moments are read, updated and written, so that
 * a step's cost follows them and not the table. A row that a step does not use stays as it is, moments included (lazy
 * Adam, as PyTorch's SparseAdam does it).
 */
export type UsedRows = { readonly input: string; readonly atMost: (bucket: number) => number };

/** A trained tensor of the model. */
export type ParameterSpec = {
  readonly name: string;
  readonly dims: readonly number[];
  /** Whether weight decay applies to it: weights yes, biases no. */
  readonly decay: boolean;
  /** What the learning rate is multiplied by for it, such as less for the lower layers of an encoder; 1 where absent. */
  readonly rateFactor?: number;
  /** Absent where a step uses and updates all of it. */
  readonly rows?: UsedRows;
};

/**
 * Gives the dropout mask of a name, float32 of these dims: see `dropoutMask`. Names differ within a step. A forward pass
 * asks for its masks only here, so that an engine without integer arithmetic can feed them from `hostMask`.
 */
export type MaskSource = (name: string, dims: readonly number[], rate: number) => Value;

/** What a forward pass in training knows beside its parameters. */
export type Clock = {
  readonly mask: MaskSource;
  /**
   * Which of several shapes the step is for, such as a length that texts are padded to: the number that `run` was given
   * with the batch. All buckets train the same parameters.
   */
  readonly bucket: number;
};

/** What is trained, apart from the engine that does it: its parameters, its optimizer, its forward pass with the loss. */
export type TrainingDefinition = {
  readonly name: string;
  readonly parameters: readonly ParameterSpec[];
  readonly adamW: AdamWOptions;
  /** Declares the batch's inputs, builds the forward pass, and gives the loss: a float32 scalar. */
  readonly loss: (graph: Graph, parameters: Readonly<Record<string, Value>>, clock: Clock) => Value;
};

/** The three tensors of a parameter's state: its value, and the sums of its gradients and of their squares. */
export const STATE_PARTS = ['value', 'first', 'second'] as const;
export type StatePart = (typeof STATE_PARTS)[number];

export const stateInput = (parameter: string, part: StatePart): string => `${parameter}.${part}`;
export const stateOutput = (parameter: string, part: StatePart): string => `${parameter}.${part}.next`;

/** The input that names the rows of a table that a step uses, int64 [atMost, 1]: distinct, and then the first spare one. */
export const usedRowsInput = (parameter: string): string => `${parameter}.used`;

/**
 * Rows that a table with used rows has beyond its own: one that is read and written where a batch uses fewer rows than a
 * step has room for, always finite, and one that takes what is not to be kept and is never read.
 */
const SPARE_ROWS = 2;

/** The dims in which a parameter's state goes in and comes out. */
export const stateDims = ({ dims, rows }: ParameterSpec): readonly number[] =>
  rows ? dims.with(0, (dims[0] as number) + SPARE_ROWS) : dims;

/** The dims in which a step of a bucket sees a parameter. */
export const stepDims = ({ dims, rows }: ParameterSpec, bucket: number): readonly number[] =>
  rows ? dims.with(0, Math.min(rows.atMost(bucket), dims[0] as number)) : dims;

/** A parameter's state as it goes in, and as the step sees it: of a table with used rows, only those. */
type StepState = { readonly whole: AdamWState; readonly seen: AdamWState; readonly used: Value | undefined };

const mapState = (state: AdamWState, each: (part: Value) => Value): AdamWState => ({
  parameter: each(state.parameter),
  first: each(state.first),
  second: each(state.second),
});

function stateOf(graph: Graph, spec: ParameterSpec, bucket: number): StepState {
  const [parameter, first, second] = STATE_PARTS.map((part) =>
    graph.input(stateInput(spec.name, part), 'float32', stateDims(spec)),
  ) as [Value, Value, Value];
  const whole = { parameter, first, second };
  if (!spec.rows) return { whole, seen: whole, used: undefined };
  const [atMost] = stepDims(spec, bucket) as readonly [number, ...number[]];
  const used = graph.input(usedRowsInput(spec.name), 'int64', [atMost, 1]);
  const rows = reshape(graph, used, [atMost]);
  return { whole, seen: mapState(whole, (part) => graph.node('Gather', [part, rows])), used };
}

/**
 * Where to write the used rows: to their places, or, where loss or gradients are not finite, all to the row that is never
 * read, so that the state stays what it was even where it is written in place.
 */
function rowsToWrite(graph: Graph, spec: ParameterSpec, used: Value, loss: Value, norm: Value): Value {
  const difference = graph.node('Add', [graph.node('Sub', [loss, loss]), graph.node('Sub', [norm, norm])]);
  const finite = cast(graph, graph.node('Equal', [difference, scalarLike(graph, difference, 0)]), 'int64');
  const neverRead = graph.constant(scalar('int64', (spec.dims[0] as number) + 1));
  const elsewhere = graph.node('Mul', [graph.node('Sub', [scalarLike(graph, finite, 1), finite]), neverRead]);
  // Arithmetic in place of Where, which takes ten times as long for these numbers.
  return graph.node('Add', [graph.node('Mul', [used, finite]), elsewhere]);
}

/**
 * Builds one training step of a bucket as one model of standard ONNX operators: forward pass, loss, gradients and AdamW.
 * State goes in as `<parameter>.value`, `.first` and `.second` and comes out as the same with `.next`; a table with used rows
 * also takes them, as `<parameter>.used`, and its outputs may be the memory of its inputs. Further inputs are
 * `seed` and `step` (int64 scalars), `learning_rate` (float32 scalar), and those that `loss` declares. The outputs `loss`
 * and `gradient_norm` are those before the update, and before clipping. Same definition, same bytes.
 */
export function trainingStep(definition: TrainingDefinition, bucket = 0): Uint8Array {
  const { name, parameters, adamW: options } = definition;
  const graph = new Graph(name);
  const [seed, time] = [graph.input('seed', 'int64', []), graph.input('step', 'int64', [])];
  const mask: MaskSource = (name, dims, rate) => dropoutMask(graph, seed, time, { name, dims, rate });
  const learningRate = graph.input('learning_rate', 'float32', []);
  const states = parameters.map((spec) => stateOf(graph, spec, bucket));
  const values = states.map(({ seen }) => seen.parameter);
  const byName = Object.fromEntries(parameters.map((spec, i) => [spec.name, values[i] as Value]));
  const loss = definition.loss(graph, byName, { mask, bucket });
  const gradients = differentiate(graph, loss, values).map((gradient) => squared(graph, gradient));
  const norm = globalNorm(graph, gradients);
  const factor = options.clipNorm === undefined ? undefined : clipFactor(graph, norm, options.clipNorm);
  const scale = adamWScale(graph, learningRate, time, options);
  for (const [i, spec] of parameters.entries()) {
    const [{ whole, seen, used }, gradient] = [states[i], gradients[i]] as [StepState, (typeof gradients)[number]];
    const taken = factor ? clipped(graph, gradient, factor) : gradient;
    const next = adamW(graph, seen, taken, slowed(graph, scale, spec.rateFactor), options, spec.decay);
    const places = used && rowsToWrite(graph, spec, used, loss, norm);
    const written = (before: Value, after: Value): Value =>
      places ? graph.node('ScatterND', [before, places, after]) : after;
    graph.output(stateOutput(spec.name, 'value'), written(whole.parameter, next.parameter));
    graph.output(stateOutput(spec.name, 'first'), written(whole.first, next.first));
    graph.output(stateOutput(spec.name, 'second'), written(whole.second, next.second));
  }
  graph.output('loss', loss);
  graph.output('gradient_norm', norm);
  return serialize(graph);
}
