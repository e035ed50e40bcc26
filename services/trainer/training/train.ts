import { Split } from '@understudy/contract';
import { PairStoreService } from '@understudy/contract/pair-store';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { createClient } from '@understudy/service/rpc/client';
import {
  openBundle,
  StudentModel,
  type StudentTraining,
  TrainingError,
  type TrainingErrorCode,
  type TrainingReport,
  trainStudent,
} from '@understudy/student';
import { singleLatencies } from '@understudy/student/latencies';
import type { CompiledTask, OutputPlan } from '@understudy/task';
import { canonicalJson, sha256Hex } from '@understudy/task/canonical';
import { CandidateError } from '../errors.ts';
import { MAX_UNLEARNT_PAIRS, TIMED_REQUESTS } from '../limits.ts';
import { seedOf } from '../order.ts';
import { barOf, type DevMeasure, type DevPair, measureDev } from '../search/measure.ts';
import { loadTask } from '../task.ts';
import { readExamples, type SplitExamples } from './pairs.ts';
import type { Job, Trained, Unlearnable } from './protocol.ts';

export type TrainHooks = {
  readonly onProgress: (report: TrainingReport) => void;
  readonly onCheckpointRefused: (error: Error) => void;
  readonly onCacheLost: (error: Error) => void;
  readonly onUnlearnable: (unlearnable: Unlearnable) => void;
};

/** What is wrong with the examples is wrong for every candidate. */
const FAULTS_OF_THE_EXAMPLES: ReadonlySet<TrainingErrorCode> = new Set(['no-examples', 'one-label', 'bad-example']);

/**
 * Trains one candidate of an order, puts its bundle into the blob store and measures it. Goes on from the checkpoint of
 * an earlier try.
 * @throws TerminalError when this order can lead to no student
 * @throws CandidateError when this candidate cannot; anything else may be tried again
 */
export async function train(job: Job, blobs: BlobStore, hooks: TrainHooks): Promise<Trained> {
  const started = performance.now();
  const task = await loadTask(blobs, job.order);
  const plan = task.output;
  const splits = await loadExamples(job, plan);
  const unlearnable = unlearnableOf(splits);
  if (unlearnable) hooks.onUnlearnable(unlearnable);
  const { archive, description, measured } = await blaming(async () => {
    const exported = await trainStudent(trainingOf(job, task, plan, splits, blobs, hooks));
    return { ...exported, measured: await measure(exported.archive, job, task, plan, splits) };
  });
  return {
    studentDigest: job.trainPairs === undefined ? await blobs.put('students', archive) : sha256Hex(archive),
    sizeBytes: archive.length,
    hyperparameters: canonicalJson(description.training.hyperparameters),
    devAgreement: description.devAgreement,
    ...measured,
    trainingMs: Math.round(performance.now() - started),
  };
}

function trainingOf(
  { order, candidate, checkpoint, cacheFolder, threads, place }: Job,
  { task, digest }: CompiledTask,
  { heads }: OutputPlan,
  { train, dev }: Splits,
  blobs: BlobStore,
  hooks: TrainHooks,
): StudentTraining {
  const { snapshot } = order;
  return {
    candidate,
    train: train.examples,
    dev: dev.examples,
    ...hooks,
    heads,
    seed: seedOf(order, task.training.seed),
    threads,
    engine: place.engine,
    device: place.device,
    cacheFolder,
    maxBytes: task.goal.sizeBytes,
    lineage: {
      task: { name: task.name, digest },
      snapshotDigest: snapshot.digest,
      fingerprint: snapshot.fingerprint,
    },
    checkpoints: { load: () => blobs.getNamed(checkpoint), save: (bytes) => blobs.putNamed(checkpoint, bytes) },
  };
}

/** Says whose fault it is when training fails: stores that are away are nobody's, the rest is the candidate's. */
export async function blaming<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BlobError) throw error;
    if (!(error instanceof TrainingError)) throw new CandidateError(messageOf(error), { crashed: true, cause: error });
    if (!FAULTS_OF_THE_EXAMPLES.has(error.code)) {
      throw new CandidateError(error.message, { crashed: false, cause: error });
    }
    throw new TerminalError(`no student can be trained: ${error.message}`, { cause: error });
  }
}

/** What decides about the finished student: as it will be served, on one thread. */
async function measure(
  archive: Uint8Array,
  { order }: Job,
  { task }: CompiledTask,
  plan: OutputPlan,
  { dev, unlearnt }: Splits,
): Promise<{ dev: DevMeasure; latencyUs: number }> {
  const student = await StudentModel.load(await openBundle(archive), { threads: 1 });
  try {
    const devPairs: readonly DevPair[] = [...dev.examples, ...dev.unlearnable];
    const pairs = [...devPairs, ...unlearnt];
    const texts = pairs.map(({ text }) => text);
    const predictions = await student.predict(texts);
    const latencies = await singleLatencies(student, texts, TIMED_REQUESTS);
    return {
      dev: measureDev(plan, predictions, pairs, barOf(task.goal, devPairs.length, order.snapshot.testPairs)),
      latencyUs: Math.round(latencies[Math.floor(latencies.length / 2)]! * 1_000),
    };
  } finally {
    await student.release();
  }
}

/** What a candidate learns from, and is measured on. */
export type Splits = {
  readonly train: SplitExamples;
  readonly dev: SplitExamples;
  /** Train pairs that a part of train leaves over: as good as dev to measure it on. */
  readonly unlearnt: readonly DevPair[];
};

export async function loadExamples(job: Job, plan: OutputPlan): Promise<Splits> {
  const { order, pairStoreAddress, rpcToken, traceparent } = job;
  const pairStore = createClient(PairStoreService, { address: pairStoreAddress, token: rpcToken });
  try {
    const read = (split: Split.TRAIN | Split.DEV): Promise<SplitExamples> =>
      readExamples(pairStore, order, split, plan, traceparent);
    // The pair store's order is that of pair ids, which are hashes: the first ones are a random part, and smaller parts lie within larger ones.
    const { examples, unlearnable } = await read(Split.TRAIN);
    const { trainPairs = examples.length } = job;
    return {
      train: { examples: examples.slice(0, trainPairs), unlearnable },
      dev: await read(Split.DEV),
      unlearnt: examples.slice(trainPairs, trainPairs + MAX_UNLEARNT_PAIRS),
    };
  } finally {
    pairStore.close();
  }
}

/** How many prompts no student can learn, and why; undefined where there is none. */
function unlearnableOf({ train, dev }: Splits): Unlearnable | undefined {
  const all = [...train.unlearnable, ...dev.unlearnable];
  const reasons = Map.groupBy(all, ({ reason }) => reason);
  if (all.length === 0) return undefined;
  return {
    train: train.unlearnable.length,
    dev: dev.unlearnable.length,
    reasons: Object.fromEntries([...reasons].map(([reason, prompts]) => [reason, prompts.length])),
  };
}
