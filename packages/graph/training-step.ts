import { differentiate } from './differentiate.ts';
import { dropoutMask } from './dropout.ts';
import { Graph, type Value } from './graph.ts';
import { type AdamWOptions, adamW, adamWScale } from './optimizer.ts';
import { serialize } from './serialize.ts';

/** A trained tensor of the model. `decay` says whether weight decay applies to it (weights yes, biases no). */
export type ParameterSpec = { readonly name: string; readonly dims: readonly number[]; readonly decay: boolean };

/**
 * Gives the dropout mask of a name, float32 of these dims: see `dropoutMask`. Names differ within a step. A forward pass
 * asks for its masks only here, so that an engine without integer arithmetic can feed them from `hostMask`.
 */
export type MaskSource = (name: string, dims: readonly number[], rate: number) => Value;

/** What a step knows of its place in the training. */
export type Clock = { readonly mask: MaskSource };

/** What is trained, apart from the engine that does it: its parameters, its optimizer, its forward pass with the loss. */
export type TrainingDefinition = {
  readonly name: string;
  readonly parameters: readonly ParameterSpec[];
  readonly adamW: AdamWOptions;
  /** Declares the batch's inputs, builds the forward pass, and gives the loss: a float32 scalar. */
  readonly loss: (graph: Graph, parameters: Readonly<Record<string, Value>>, clock: Clock) => Value;
};

/** One training step as an ONNX model, and the parameters whose state it takes in and gives out. */
export type TrainingStep = { readonly model: Uint8Array; readonly parameters: readonly ParameterSpec[] };

/** The three tensors of a parameter's state: its value, and the sums of its gradients and of their squares. */
export const STATE_PARTS = ['value', 'first', 'second'] as const;
export type StatePart = (typeof STATE_PARTS)[number];

export const stateInput = (parameter: string, part: StatePart): string => `${parameter}.${part}`;
export const stateOutput = (parameter: string, part: StatePart): string => `${parameter}.${part}.next`;

/**
 * Builds one training step as one model of standard ONNX operators: forward pass, loss, gradients and AdamW. State goes
 * in as `<parameter>.value`, `.first` and `.second` and comes out as the same with `.next`; further inputs are `seed`
 * and `step` (int64 scalars), `learning_rate` (float32 scalar), and those that `loss` declares. The output `loss` is
 * the loss before the update. Same options, same bytes.
 */
export function trainingStep(options: TrainingDefinition): TrainingStep {
  const graph = new Graph(options.name);
  const [seed, time] = [graph.input('seed', 'int64', []), graph.input('step', 'int64', [])];
  const mask: MaskSource = (name, dims, rate) => dropoutMask(graph, seed, time, { name, dims, rate });
  const learningRate = graph.input('learning_rate', 'float32', []);
  const states = options.parameters.map(({ name, dims }) => {
    const [parameter, first, second] = STATE_PARTS.map((part) =>
      graph.input(stateInput(name, part), 'float32', dims),
    ) as [Value, Value, Value];
    return { parameter, first, second };
  });
  const values = Object.fromEntries(options.parameters.map(({ name }, i) => [name, states[i]?.parameter as Value]));
  const loss = options.loss(graph, values, { mask });
  const gradients = differentiate(
    graph,
    loss,
    states.map((state) => state.parameter),
  );
  const scale = adamWScale(graph, learningRate, time, options.adamW);
  for (const [i, { name, decay }] of options.parameters.entries()) {
    const [state, gradient] = [states[i], gradients[i]] as [(typeof states)[number], Value];
    const next = adamW(graph, state, gradient, scale, options.adamW, decay);
    graph.output(stateOutput(name, 'value'), next.parameter);
    graph.output(stateOutput(name, 'first'), next.first);
    graph.output(stateOutput(name, 'second'), next.second);
  }
  graph.output('loss', loss);
  return { model: serialize(graph), parameters: options.parameters };
}
