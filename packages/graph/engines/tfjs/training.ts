import * as tf from '@tensorflow/tfjs-core';
import { hostMask, type MaskSpec } from '../../dropout.ts';
import { Graph, type Value } from '../../graph.ts';
import { elementCount, type TensorValue, tensor } from '../../tensor.ts';
import type { TrainingState } from '../../training-session.ts';
import {
  type ParameterSpec,
  STATE_PARTS,
  type StatePart,
  stateInput,
  type TrainingDefinition,
} from '../../training-step.ts';
import type { Training } from '../engine.ts';
import { activate, bestBackend, type TfjsBackend } from './backends.ts';
import { toTfjs } from './context.ts';
import { Walker } from './walk.ts';

type Variables = Readonly<Record<StatePart, tf.Variable>>;

/** The forward graph of a definition, its loss, and the masks that it draws, which the host makes. */
function forward(definition: TrainingDefinition): { graph: Graph; loss: Value; masks: readonly MaskSpec[] } {
  const graph = new Graph(definition.name);
  const masks: MaskSpec[] = [];
  const mask = (name: string, dims: readonly number[], rate: number): Value => {
    masks.push({ name, dims, rate });
    return graph.input(maskInput(name), 'float32', dims);
  };
  const parameters = Object.fromEntries(
    definition.parameters.map(({ name, dims }) => [name, graph.input(stateInput(name, 'value'), 'float32', dims)]),
  );
  return { graph, loss: definition.loss(graph, parameters, { mask, bucket: 0 }), masks };
}

const maskInput = (name: string): string => `${name}.mask`;

function variablesOf({ name, dims }: ParameterSpec, { tensors }: TrainingState): Variables {
  const variable = (part: StatePart): tf.Variable => {
    const values = tensors[stateInput(name, part)];
    if (values?.length !== elementCount(dims)) {
      throw new RangeError(
        `state tensor "${stateInput(name, part)}": expected ${elementCount(dims)} values, got ${values?.length ?? 'none'}`,
      );
    }
    return tf.tidy(() => tf.variable(toTfjs(tensor('float32', dims, values)), part === 'value'));
  };
  return { value: variable('value'), first: variable('first'), second: variable('second') };
}

/**
 * Trains with TensorFlow.js: it computes the forward graph with its own operators, differentiates what it computed, and
 * takes the same optimizer's steps. State stays in the backend's memory, which is the GPU's for `node-gpu`. tfjs has one
 * backend for the whole process; `run` occupies its thread for the length of a step.
 */
export class TfjsTraining implements Training {
  readonly #definition: TrainingDefinition;
  readonly #backend: TfjsBackend;
  readonly #threads: number;
  readonly #walker: Walker;
  readonly #masks: readonly MaskSpec[];
  readonly #variables: ReadonlyMap<string, Variables>;
  #step: number;

  private constructor(definition: TrainingDefinition, state: TrainingState, backend: TfjsBackend, threads: number) {
    const { graph, loss, masks } = forward(definition);
    this.#definition = definition;
    this.#backend = backend;
    this.#threads = threads;
    this.#walker = new Walker(graph, loss);
    this.#masks = masks;
    this.#variables = new Map(definition.parameters.map((spec) => [spec.name, variablesOf(spec, state)]));
    this.#step = state.step;
  }

  /** @throws RangeError when the state does not fit; GraphError for a node or backend that tfjs does not have here. */
  static async open(
    definition: TrainingDefinition,
    state: TrainingState,
    { backend = bestBackend(), threads }: { readonly backend?: TfjsBackend; readonly threads: number },
  ): Promise<TfjsTraining> {
    await activate(backend, threads);
    return new TfjsTraining(definition, state, backend, threads);
  }

  get step(): number {
    return this.#step;
  }

  async run(batch: Readonly<Record<string, TensorValue>>, seed: number, learningRate: number): Promise<number> {
    await activate(this.#backend, this.#threads);
    const step = this.#step + 1;
    const loss = tf.tidy(() => {
      const inputs = new Map(Object.entries(batch).map(([name, value]) => [name, toTfjs(value)]));
      for (const spec of this.#masks) {
        inputs.set(maskInput(spec.name), toTfjs(tensor('float32', spec.dims, hostMask(spec, seed, step))));
      }
      for (const [name, { value }] of this.#variables) inputs.set(stateInput(name, 'value'), value);
      const values = [...this.#variables.values()].map(({ value }) => value);
      const { value, grads } = tf.variableGrads(() => tf.reshape<tf.Rank.R0>(this.#walker.run(inputs), []), values);
      this.#update(grads, step, learningRate);
      return value;
    });
    this.#step = step;
    const [value] = await loss.data<'float32'>();
    loss.dispose();
    return value as number;
  }

  /** AdamW with moments kept as sums, as in `optimizer.ts`, where the algebra is. */
  #update(gradients: tf.NamedTensorMap, step: number, learningRate: number): void {
    const { beta1, beta2, epsilon, weightDecay } = this.#definition.adamW;
    const correction = (beta: number): number => (1 - beta ** step) / (1 - beta);
    const spread = Math.sqrt(correction(beta2));
    const rate = (learningRate * spread) / correction(beta1);
    for (const { name, decay } of this.#definition.parameters) {
      const { value, first, second } = this.#variables.get(name) as Variables;
      const gradient = gradients[value.name] as tf.Tensor;
      first.assign(tf.add(tf.mul(first, beta1), gradient));
      second.assign(tf.add(tf.mul(second, beta2), tf.mul(gradient, gradient)));
      const update = tf.mul(tf.div(first, tf.add(tf.sqrt(second), spread * epsilon)), rate);
      value.assign(tf.sub(decay ? tf.mul(value, 1 - learningRate * weightDecay) : value, update));
    }
  }

  async read(parameter: string, part: StatePart = 'value'): Promise<Float32Array> {
    const variables = this.#variables.get(parameter);
    if (!variables) throw new RangeError(`no parameter "${parameter}" in this training`);
    return Float32Array.from(await variables[part].data<'float32'>());
  }

  async state(): Promise<TrainingState> {
    const tensors: Record<string, Float32Array> = {};
    for (const name of this.#variables.keys()) {
      for (const part of STATE_PARTS) tensors[stateInput(name, part)] = await this.read(name, part);
    }
    return { step: this.#step, tensors };
  }

  async release(): Promise<void> {
    this.#walker.dispose();
    for (const variables of this.#variables.values()) for (const part of STATE_PARTS) variables[part].dispose();
  }
}
