import type { SessionOptions } from '../session.ts';
import type { TensorValue } from '../tensor.ts';
import { TrainingSession, type TrainingState } from '../training-session.ts';
import type { StatePart, TrainingDefinition } from '../training-step.ts';
import type { TfjsBackend } from './tfjs/packages.ts';

/**
 * What can train: `ort` runs a step as one ONNX model in ONNX Runtime; `tfjs` walks the same forward graph with
 * TensorFlow.js, whose own differentiation makes it an independent check of ours.
 */
export const ENGINES = ['ort', 'tfjs'] as const;
export type Engine = (typeof ENGINES)[number];

/** A training that goes on step by step, whatever runs it. */
export interface Training {
  /** Steps taken so far. */
  readonly step: number;
  /**
   * Takes one step on a batch and gives its loss before the update.
   * @param batch the inputs that the definition's loss declares, by name.
   * @param seed of dropout: any safe integer.
   * @param bucket which of the definition's shapes the batch has, 0 where there is but one: see `Clock`.
   * @throws DivergedError when loss or gradients are not finite: the step is not taken, and the state stays what it was.
   */
  run(
    batch: Readonly<Record<string, TensorValue>>,
    seed: number,
    learningRate: number,
    bucket?: number,
  ): Promise<number>;
  /** A copy of one tensor of a parameter's state, row-major. @throws RangeError for an unknown parameter. */
  read(parameter: string, part?: StatePart): Promise<Float32Array>;
  /** A copy of the whole state, from which a training continues as if it had not stopped, on either engine. */
  state(): Promise<TrainingState>;
  release(): Promise<void>;
}

export type EngineOptions = SessionOptions & {
  readonly engine: Engine;
  /** What tfjs computes with; the best that is installed where absent. */
  readonly backend?: TfjsBackend;
};

/**
 * Opens a training of `definition` that goes on from `state`.
 * @throws RangeError when the state does not fit the parameters; GraphError when this engine cannot run the definition.
 */
export async function openTraining(
  definition: TrainingDefinition,
  state: TrainingState,
  { engine, ...options }: EngineOptions,
): Promise<Training> {
  if (engine === 'ort') return await TrainingSession.open(definition, state, options);
  // Loaded only where it trains: tfjs and its gradients take a second or two to load.
  const { TfjsTraining } = await import('./tfjs/training.ts');
  return await TfjsTraining.open(definition, state, options);
}
