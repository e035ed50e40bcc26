import { cast, ints, scalarLike } from './emit.ts';
import type { Graph, Value } from './graph.ts';

/** AdamW (Loshchilov, Hutter 2019, arXiv 1711.05101). The learning rate is an input of every step. */
export type AdamWOptions = {
  /** Decay of the mean of gradients, in [0, 1). */
  readonly beta1: number;
  /** Decay of the mean of squared gradients, in [0, 1). */
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled decay: a decayed parameter shrinks by learning rate × this in each step. */
  readonly weightDecay: number;
  /**
   * The norm that all gradients of a step, taken as one vector, are scaled down to where theirs is larger (Pascanu et
   * al. 2013, arXiv 1211.5063). Absent, nothing is clipped.
   */
  readonly clipNorm?: number;
};

/** A parameter and its two moments, before a step or after it. */
export type AdamWState = { readonly parameter: Value; readonly first: Value; readonly second: Value };

/** A parameter's gradient and its square, both before clipping. */
export type Gradient = { readonly value: Value; readonly square: Value };

/** What a step's corrections for moments that start at zero come to: scalars shared by all parameters. */
export type AdamWScale = { readonly rate: Value; readonly epsilon: Value; readonly shrink: Value };

/** Added to the norm before dividing by it, as PyTorch's `clip_grad_norm_` does. */
const CLIP_EPSILON = 1e-6;

export const squared = (graph: Graph, gradient: Value): Gradient => ({
  value: gradient,
  square: graph.node('Mul', [gradient, gradient]),
});

/** The Euclidean norm of all gradients as one vector: a scalar, and not finite where one of their numbers is not. */
export function globalNorm(graph: Graph, gradients: readonly Gradient[]): Value {
  const sums = gradients.map(({ square }) => {
    const axes = ints(
      graph,
      square.shape.map((_, axis) => axis),
    );
    return square.shape.length === 0 ? square : graph.node('ReduceSum', [square, axes], { keepdims: 0 });
  });
  return graph.node('Sqrt', [sums.reduce((total, sum) => graph.node('Add', [total, sum]))]);
}

/** min(1, clipNorm/(norm + ε)): what clipped gradients are multiplied by. */
export function clipFactor(graph: Graph, norm: Value, clipNorm: number): Value {
  const constant = (value: number): Value => scalarLike(graph, norm, value);
  const ratio = graph.node('Div', [constant(clipNorm), graph.node('Add', [norm, constant(CLIP_EPSILON)])]);
  return graph.node('Min', [ratio, constant(1)]);
}

export const clipped = (graph: Graph, { value, square }: Gradient, factor: Value): Gradient => ({
  value: graph.node('Mul', [value, factor]),
  square: graph.node('Mul', [square, graph.node('Mul', [factor, factor])]),
});

/**
 * The moments are kept as sums, M ← β₁M + g and V ← β₂V + g², which are the usual means times 1/(1 − β): two passes over
 * every parameter less. With c₁ = 1 − β₁ᵗ and c₂ = 1 − β₂ᵗ the usual step,
 * lr·(m/c₁) / (√(v/c₂) + ε), is then rate·M / (√V + ε′) with ε′ = ε·√(c₂/(1 − β₂)) and
 * rate = lr·(1 − β₁)/c₁·√(c₂/(1 − β₂)).
 * @param learningRate float32 scalar.
 * @param step int64 scalar: the number of this step, from 1.
 */
export function adamWScale(graph: Graph, learningRate: Value, step: Value, options: AdamWOptions): AdamWScale {
  const { beta1, beta2, epsilon, weightDecay } = options;
  const constant = (value: number): Value => scalarLike(graph, learningRate, value);
  const time = cast(graph, step, learningRate.type);
  const correction = (beta: number): Value =>
    graph.node('Div', [
      graph.node('Sub', [constant(1), graph.node('Pow', [constant(beta), time])]),
      constant(1 - beta),
    ]);
  const spread = graph.node('Sqrt', [correction(beta2)]);
  return {
    rate: graph.node('Mul', [learningRate, graph.node('Div', [spread, correction(beta1)])]),
    epsilon: graph.node('Mul', [spread, constant(epsilon)]),
    shrink: graph.node('Sub', [constant(1), graph.node('Mul', [learningRate, constant(weightDecay)])]),
  };
}

/** The scale of a parameter whose learning rate is multiplied by a factor. */
export function slowed(graph: Graph, scale: AdamWScale, factor = 1): AdamWScale {
  if (factor === 1) return scale;
  const times = (value: Value): Value => graph.node('Mul', [value, scalarLike(graph, value, factor)]);
  const one = scalarLike(graph, scale.shrink, 1);
  return {
    rate: times(scale.rate),
    epsilon: scale.epsilon,
    shrink: graph.node('Sub', [one, times(graph.node('Sub', [one, scale.shrink]))]),
  };
}

/** Emits one parameter's step. `decay` says whether the parameter takes part in weight decay. */
export function adamW(
  graph: Graph,
  state: AdamWState,
  { value, square }: Gradient,
  scale: AdamWScale,
  options: AdamWOptions,
  decay: boolean,
): AdamWState {
  const decayed = (moment: Value, beta: number): Value => graph.node('Mul', [moment, scalarLike(graph, moment, beta)]);
  const first = graph.node('Add', [decayed(state.first, options.beta1), value]);
  const second = graph.node('Add', [decayed(state.second, options.beta2), square]);
  const deviation = graph.node('Add', [graph.node('Sqrt', [second]), scale.epsilon]);
  const update = graph.node('Mul', [graph.node('Div', [first, deviation]), scale.rate]);
  const shrunk = decay ? graph.node('Mul', [state.parameter, scale.shrink]) : state.parameter;
  return { parameter: graph.node('Sub', [shrunk, update]), first, second };
}
