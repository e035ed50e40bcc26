import { cast, scalarLike } from './emit.ts';
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
};

/** A parameter, its gradient, and its two moments, before a step. */
export type AdamWState = { readonly parameter: Value; readonly first: Value; readonly second: Value };

/** What a step's corrections for moments that start at zero come to: scalars shared by all parameters. */
export type AdamWScale = { readonly rate: Value; readonly epsilon: Value; readonly shrink: Value };

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

/** Emits one parameter's step. `decay` says whether the parameter takes part in weight decay. */
export function adamW(
  graph: Graph,
  state: AdamWState,
  gradient: Value,
  scale: AdamWScale,
  options: AdamWOptions,
  decay: boolean,
): AdamWState {
  const decayed = (value: Value, beta: number): Value => graph.node('Mul', [value, scalarLike(graph, value, beta)]);
  const first = graph.node('Add', [decayed(state.first, options.beta1), gradient]);
  const second = graph.node('Add', [decayed(state.second, options.beta2), graph.node('Mul', [gradient, gradient])]);
  const deviation = graph.node('Add', [graph.node('Sqrt', [second]), scale.epsilon]);
  const update = graph.node('Mul', [graph.node('Div', [first, deviation]), scale.rate]);
  const shrunk = decay ? graph.node('Mul', [state.parameter, scale.shrink]) : state.parameter;
  return { parameter: graph.node('Sub', [shrunk, update]), first, second };
}

/** A learning rate that rises linearly over the first steps and then falls linearly to zero after the last one. */
export type LinearSchedule = { readonly peak: number; readonly warmupSteps: number; readonly totalSteps: number };

/** The learning rate of a step, counted from 1. */
export function learningRateAt(step: number, { peak, warmupSteps, totalSteps }: LinearSchedule): number {
  if (step <= warmupSteps) return (peak * step) / warmupSteps;
  const left = Math.max(totalSteps - step + 1, 0);
  return (peak * left) / Math.max(totalSteps - warmupSteps, 1);
}
