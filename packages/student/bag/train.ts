import { type Device, initialState, type LinearSchedule, learningRateAt, TrainingSession } from '@understudy/graph';
import {
  type CheckpointStore,
  type EpochResult,
  readCheckpoint,
  type TrainingProgress,
  writeCheckpoint,
} from '../checkpoint.ts';
import { CheckpointError, TrainingError } from '../errors.ts';
import { checkExamples, type Example } from '../examples.ts';
import type { TrainingReport } from '../family.ts';
import { seededOrder } from '../random.ts';
import { Batch, batchShapeFor } from './batches.ts';
import { type DevEvaluator, openDevEvaluator } from './evaluate.ts';
import { type BagHyperparameters, bagDefaults } from './hyperparameters.ts';
import { trainingKey } from './key.ts';
import { type BagParameters, bagTrainingStep, initialParameters, tableRowsOf } from './model.ts';
import { hashTexts, type RowCache } from './rows.ts';
import { bestOf, isBetter, isStale } from './stopping.ts';
import { renumbered, usedRows, wholeTable } from './used-rows.ts';

export type TrainOptions = {
  readonly labels: readonly string[];
  readonly train: readonly Example[];
  readonly dev: readonly Example[];
  /** Any safe integer; the same one gives the same student on the same machine. */
  readonly seed: number;
  /** Threads of one operator. Another number gives a student that differs in the last bits. */
  readonly threads: number;
  /** Where steps run; `cpu` where absent. Another device gives a student that differs in the last bits. */
  readonly device?: Device;
  readonly hyperparameters?: Partial<BagHyperparameters>;
  readonly checkpoints?: CheckpointStore;
  /** Stops the training between two steps; `train` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (report: TrainingReport) => void;
  /** Told why a checkpoint was not continued from; the training then starts over. */
  readonly onCheckpointRefused?: (error: CheckpointError) => void;
};

export type TrainedBag = {
  readonly labels: readonly string[];
  readonly hyperparameters: BagHyperparameters;
  readonly parameters: BagParameters;
  readonly seed: number;
  readonly threads: number;
  readonly device: Device;
  readonly history: readonly EpochResult[];
  /** The epoch whose parameters were kept. */
  readonly best: EpochResult;
};

/** A checkpoint of up to 33 MB about every three seconds: little is lost, and a twentieth of the time is spent writing. */
const STEPS_PER_CHECKPOINT = 100;
const STEPS_PER_REPORT = 20;

const textsOf = (examples: readonly Example[]): string[] => examples.map(({ text }) => text);

/** What a training run holds while it goes on. */
class Training {
  readonly #options: TrainOptions;
  readonly #hyper: BagHyperparameters;
  readonly #key: string;
  readonly #session: TrainingSession;
  readonly #evaluator: DevEvaluator;
  readonly #cache: RowCache;
  readonly #used: Uint32Array;
  readonly #batch: Batch;
  readonly #schedule: LinearSchedule;
  readonly #stepsPerEpoch: number;
  #epochLossSum: number;
  #history: readonly EpochResult[];
  #best: Readonly<Record<string, Float32Array>> | undefined;

  private constructor(
    options: TrainOptions,
    hyper: BagHyperparameters,
    key: string,
    parts: { session: TrainingSession; evaluator: DevEvaluator; cache: RowCache; used: Uint32Array; batch: Batch },
    progress: TrainingProgress,
  ) {
    this.#options = options;
    this.#hyper = hyper;
    this.#key = key;
    this.#session = parts.session;
    this.#evaluator = parts.evaluator;
    this.#cache = parts.cache;
    this.#used = parts.used;
    this.#batch = parts.batch;
    this.#stepsPerEpoch = Math.ceil(options.train.length / hyper.batchTexts);
    this.#schedule = {
      peak: hyper.learningRate,
      warmupSteps: 0,
      totalSteps: this.#stepsPerEpoch * hyper.epochs,
    };
    this.#epochLossSum = progress.epochLossSum;
    this.#history = progress.history;
    this.#best = progress.best;
  }

  static async open(options: TrainOptions, hyper: BagHyperparameters): Promise<Training> {
    const { train, dev, labels, threads, device, seed } = options;
    const key = trainingKey(options, hyper);
    const hashed = await hashTexts(textsOf(train), hyper.rows, threads);
    const used = usedRows(hashed, hyper.rows);
    const cache = renumbered(hashed, used, hyper.rows);
    const devCache = renumbered(await hashTexts(textsOf(dev), hyper.rows, threads), used, hyper.rows);
    const shape = batchShapeFor([cache, devCache], hyper.batchTexts);
    const trained = { usedRows: used.length, labels: labels.length };
    const progress = (await resume(options, key)) ?? {
      state: initialState(initialParameters(hyper, trained, seed)),
      epochLossSum: 0,
      history: [],
      best: undefined,
    };
    const session = await TrainingSession.open(bagTrainingStep(hyper, trained, shape), progress.state, {
      threads,
      device,
    });
    const evaluator = await openDevEvaluator(hyper, trained, shape, devCache, dev, threads);
    const batch = new Batch(shape, tableRowsOf(trained), labels.length);
    return new Training(options, hyper, key, { session, evaluator, cache, used, batch }, progress);
  }

  async run(): Promise<TrainedBag> {
    while (this.#history.length < this.#hyper.epochs && !isStale(this.#history, this.#hyper.patienceEpochs)) {
      await this.#epoch(this.#history.length + 1);
    }
    const { labels, seed, threads, device = 'cpu' } = this.#options;
    const best = this.#best as BagParameters;
    return {
      labels,
      hyperparameters: this.#hyper,
      parameters: { ...best, table: wholeTable(best.table, this.#used, this.#hyper.rows, this.#hyper.width) },
      seed,
      threads,
      device,
      history: this.#history,
      best: bestOf(this.#history) as EpochResult,
    };
  }

  async #epoch(epoch: number): Promise<void> {
    const { train, seed, onProgress } = this.#options;
    const order = seededOrder(seed, `epoch ${epoch}`, train.length);
    const first = (epoch - 1) * this.#stepsPerEpoch;
    while (this.#session.step - first < this.#stepsPerEpoch) {
      this.#options.signal?.throwIfAborted();
      const start = (this.#session.step - first) * this.#hyper.batchTexts;
      await this.#step(order.subarray(start, start + this.#hyper.batchTexts));
      const { step } = this.#session;
      if (step % STEPS_PER_REPORT === 0) onProgress?.(this.#report(epoch, this.#epochLossSum / (step - first)));
      if (step % STEPS_PER_CHECKPOINT === 0) await this.#checkpoint();
    }
    await this.#finishEpoch(epoch);
  }

  async #step(indices: Uint32Array): Promise<void> {
    this.#batch.fill(this.#cache, this.#options.train, indices);
    const rate = learningRateAt(this.#session.step + 1, this.#schedule);
    const loss = await this.#session.run(this.#batch.all, this.#options.seed, rate);
    if (!Number.isFinite(loss)) {
      throw new TrainingError('diverged', `the loss became ${loss} in step ${this.#session.step}`);
    }
    this.#epochLossSum += loss;
  }

  async #finishEpoch(epoch: number): Promise<void> {
    const loss = this.#epochLossSum / this.#stepsPerEpoch;
    const parameters: Record<string, Float32Array> = {};
    for (const name of ['table', 'head', 'bias']) parameters[name] = await this.#session.read(name);
    const dev = await this.#evaluator.evaluate((name) => parameters[name] as Float32Array);
    const result = { epoch, loss, ...dev };
    if (isBetter(result, bestOf(this.#history))) this.#best = parameters;
    this.#history = [...this.#history, result];
    this.#epochLossSum = 0;
    this.#options.onProgress?.(this.#report(epoch, loss));
  }

  #report(epoch: number, loss: number): TrainingReport {
    return {
      epoch,
      epochs: this.#hyper.epochs,
      step: this.#session.step,
      steps: this.#schedule.totalSteps,
      loss,
      devAgreement: this.#history.at(-1)?.devAgreement,
    };
  }

  async #checkpoint(): Promise<void> {
    const { checkpoints } = this.#options;
    if (!checkpoints) return;
    const progress = {
      state: await this.#session.state(),
      epochLossSum: this.#epochLossSum,
      history: this.#history,
      best: this.#best,
    };
    await checkpoints.save(await writeCheckpoint(this.#key, progress));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.release();
    await this.#evaluator.release();
  }
}

/** What the last checkpoint holds, unless there is none or it cannot be used. */
async function resume(options: TrainOptions, key: string): Promise<TrainingProgress | undefined> {
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
 * Trains a `bag` student: the epoch that agrees best with the teacher on dev. The same examples, hyperparameters, seed,
 * threads, runtime build and machine give the same parameters bit for bit, also when the training was killed and went
 * on from a checkpoint. Occupies its thread for the length of each step: run it in a process of its own.
 * @throws TrainingError when these examples cannot give a student; the signal's reason when it aborts.
 */
export async function trainBag(options: TrainOptions): Promise<TrainedBag> {
  checkExamples(options.train, options.dev, options.labels);
  const hyper = { ...bagDefaults(options.labels.length, options.train.length), ...options.hyperparameters };
  await using training = await Training.open(options, hyper);
  return await training.run();
}
