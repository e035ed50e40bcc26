import {
  DivergedError,
  initialState,
  learningRateAt,
  openTraining,
  type Schedule,
  type Training,
  type TrainingDefinition,
} from '@understudy/graph';
import { batchesPerEpoch, epochBatches } from './batches.ts';
import { type EpochResult, readCheckpoint, type TrainingProgress, writeCheckpoint } from './checkpoint.ts';
import { CheckpointError, TrainingError } from './errors.ts';
import { type DevEvaluator, openDevEvaluator } from './evaluate.ts';
import type { StudentTraining, TrainingReport } from './family.ts';
import { type Layout, layoutOf } from './heads/layout.ts';
import { lossOf } from './heads/loss.ts';
import { Targets } from './heads/targets.ts';
import type { Learner, ParameterValues } from './learner.ts';
import { bestOf, isBetter, isStale } from './stopping.ts';

/** What a training came to: the parameters of the epoch that agrees best with the teacher on dev. */
export type Trained = {
  readonly parameters: ParameterValues;
  readonly history: readonly EpochResult[];
  readonly best: EpochResult;
};

/** Little is lost, and a twentieth of the time is spent writing (a checkpoint has up to 33 MB for a bag). */
const STEPS_PER_CHECKPOINT = 100;
const STEPS_PER_REPORT = 20;
const ADAM_W = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

/** The training step of a learner, for batches of any of its buckets. */
export const definitionOf = (learner: Learner, layout: Layout): TrainingDefinition => {
  const { weightDecay, clipNorm, batchTexts, labelSmoothing } = learner.settings;
  return {
    name: 'training-step',
    parameters: learner.parameters,
    adamW: { ...ADAM_W, weightDecay, clipNorm: clipNorm || undefined },
    loss: (graph, parameters, clock) => {
      const logits = learner.logits(graph, parameters, clock.bucket, clock);
      return lossOf(graph, layout, logits, batchTexts, labelSmoothing);
    },
  };
};

/** What a training holds while it goes on. */
class Run {
  readonly #options: StudentTraining;
  readonly #learner: Learner;
  readonly #key: string;
  readonly #training: Training;
  readonly #evaluator: DevEvaluator;
  readonly #targets: Targets;
  readonly #schedule: Schedule;
  readonly #stepsPerEpoch: number;
  #epochLossSum: number;
  #history: readonly EpochResult[];
  #best: ParameterValues | undefined;

  private constructor(
    options: StudentTraining,
    learner: Learner,
    key: string,
    parts: { training: Training; evaluator: DevEvaluator },
    progress: TrainingProgress,
  ) {
    const { batchTexts, epochs, learningRate, warmupShare } = learner.settings;
    this.#options = options;
    this.#learner = learner;
    this.#key = key;
    this.#training = parts.training;
    this.#evaluator = parts.evaluator;
    this.#targets = new Targets(batchTexts, layoutOf(options.heads));
    this.#stepsPerEpoch = batchesPerEpoch(learner.train.buckets, batchTexts);
    const totalSteps = this.#stepsPerEpoch * epochs;
    const warmupSteps = Math.floor(warmupShare * totalSteps);
    this.#schedule = { shape: 'linear', peak: learningRate, warmupSteps, totalSteps };
    this.#epochLossSum = progress.epochLossSum;
    this.#history = progress.history;
    this.#best = progress.best;
  }

  static async open(options: StudentTraining, learner: Learner, key: string): Promise<Run> {
    const { heads, dev, threads, device, engine = 'ort' } = options;
    const layout = layoutOf(heads);
    const start = { state: initialState(learner.initial), epochLossSum: 0, history: [], best: undefined };
    const progress = (await resume(options, key)) ?? start;
    const training = await openTraining(definitionOf(learner, layout), progress.state, {
      engine,
      threads,
      device,
    });
    const evaluator = await openDevEvaluator(learner, dev, layout, threads);
    return new Run(options, learner, key, { training, evaluator }, progress);
  }

  async run(): Promise<Trained> {
    const { epochs, patienceEpochs } = this.#learner.settings;
    while (this.#history.length < epochs && !isStale(this.#history, patienceEpochs)) {
      await this.#epoch(this.#history.length + 1);
    }
    return {
      parameters: this.#best as ParameterValues,
      history: this.#history,
      best: bestOf(this.#history) as EpochResult,
    };
  }

  async #epoch(epoch: number): Promise<void> {
    const { train, seed, onProgress, signal } = this.#options;
    const batches = epochBatches(this.#learner.train.buckets, this.#learner.settings.batchTexts, seed, epoch);
    const first = (epoch - 1) * this.#stepsPerEpoch;
    for (const { bucket, indices } of batches.slice(this.#training.step - first)) {
      signal?.throwIfAborted();
      const features = this.#learner.train.features(indices, bucket);
      const targets = this.#targets.of(train, indices, this.#learner.train, bucket);
      await this.#step({ ...features, ...targets }, bucket);
      const { step } = this.#training;
      if (step % STEPS_PER_REPORT === 0) onProgress?.(this.#report(epoch, this.#epochLossSum / (step - first)));
      if (step % STEPS_PER_CHECKPOINT === 0) await this.#checkpoint();
    }
    await this.#finishEpoch(epoch);
  }

  async #step(batch: Parameters<Training['run']>[0], bucket: number): Promise<void> {
    const rate = learningRateAt(this.#training.step + 1, this.#schedule);
    try {
      this.#epochLossSum += await this.#training.run(batch, this.#options.seed, rate, bucket);
    } catch (error) {
      throw error instanceof DivergedError ? diverged(error.message, error) : error;
    }
  }

  async #finishEpoch(epoch: number): Promise<void> {
    const loss = this.#epochLossSum / this.#stepsPerEpoch;
    const values: Record<string, Float32Array> = {};
    for (const { name } of this.#learner.parameters) values[name] = await this.#training.read(name);
    const result = { epoch, loss, ...(await this.#evaluator.evaluate(values)) };
    if (!Number.isFinite(result.devLoss)) {
      throw diverged(`the loss on dev became ${result.devLoss} after step ${this.#training.step}`);
    }
    if (isBetter(result, bestOf(this.#history))) this.#best = values;
    this.#history = [...this.#history, result];
    this.#epochLossSum = 0;
    this.#options.onProgress?.(this.#report(epoch, loss));
  }

  #report(epoch: number, loss: number): TrainingReport {
    return {
      epoch,
      epochs: this.#learner.settings.epochs,
      step: this.#training.step,
      steps: this.#schedule.totalSteps,
      loss,
      devAgreement: this.#history.at(-1)?.devAgreement,
    };
  }

  /** Saves where the training is, unless it has diverged: the loss of a step says nothing of the update after it. */
  async #checkpoint(): Promise<void> {
    const { checkpoints } = this.#options;
    if (!checkpoints) return;
    const state = await this.#training.state();
    if (!Object.values(state.tensors).every(allFinite)) {
      throw diverged(`the parameters were no longer finite after step ${this.#training.step}`);
    }
    const progress = { state, epochLossSum: this.#epochLossSum, history: this.#history, best: this.#best };
    await checkpoints.save(await writeCheckpoint(this.#key, progress));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#training.release();
    await this.#evaluator.release();
  }
}

const diverged = (what: string, cause?: unknown): TrainingError =>
  new TrainingError('diverged', `${what}; the last checkpoint is from before; try a smaller learning rate`, { cause });

function allFinite(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i] as number)) return false;
  return true;
}

/** What the last checkpoint holds, unless there is none or it cannot be used. */
async function resume(options: StudentTraining, key: string): Promise<TrainingProgress | undefined> {
  const saved = await options.checkpoints?.load();
  if (!saved) return undefined;
  try {
    return await readCheckpoint(key, saved);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    options.onCheckpointRefused?.(error);
    return undefined;
  }
}

/**
 * Trains a learner's parameters: epochs of batches in an order that the seed gives, dev after each, until the epochs are
 * over or dev has not improved for long. The same key gives the same parameters bit for bit, also when the training was
 * killed and went on from a checkpoint. Occupies its thread for the length of each step: run it in a process of its own.
 * @param key identifies the training: see `trainingKey`.
 * @throws TrainingError `diverged`, naming the step; the signal's reason when it aborts.
 */
export async function runTraining(options: StudentTraining, learner: Learner, key: string): Promise<Trained> {
  await using run = await Run.open(options, learner, key);
  return await run.run();
}
