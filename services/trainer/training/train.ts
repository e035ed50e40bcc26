import { Split } from '@understudy/contract';
import { PairStoreService } from '@understudy/contract/pair-store';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { createClient } from '@understudy/service/rpc/client';
import {
  type Example,
  openBundle,
  StudentModel,
  type StudentTraining,
  TrainingError,
  type TrainingErrorCode,
  type TrainingReport,
  trainStudent,
} from '@understudy/student';
import { argmax } from '@understudy/student/examples';
import { singleLatencies } from '@understudy/student/latencies';
import type { CompiledTask } from '@understudy/task';
import { canonicalJson, sha256Hex } from '@understudy/task/canonical';
import { CandidateError } from '../errors.ts';
import { TIMED_REQUESTS } from '../limits.ts';
import { seedOf } from '../order.ts';
import { barOf, type DevMeasure, measureDev } from '../search/measure.ts';
import { loadTask } from '../task.ts';
import { readExamples } from './pairs.ts';
import type { Job, Trained } from './protocol.ts';

export type TrainHooks = {
  readonly onProgress: (report: TrainingReport) => void;
  readonly onCheckpointRefused: (error: Error) => void;
};

type Examples = { readonly train: Example[]; readonly dev: Example[] };

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
  const examples = await loadExamples(job, task);
  const { archive, description, measured } = await blaming(async () => {
    const exported = await trainStudent(trainingOf(job, task, examples, blobs, hooks));
    return { ...exported, measured: await measure(exported.archive, job, task, examples.dev) };
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
  { task, digest, output }: CompiledTask,
  examples: Examples,
  blobs: BlobStore,
  hooks: TrainHooks,
): StudentTraining {
  const { snapshot } = order;
  return {
    candidate,
    ...examples,
    ...hooks,
    labels: output.single!.labels,
    seed: seedOf(order, task.training.seed),
    threads,
    engine: place.engine,
    device: place.device,
    cacheFolder,
    field: output.single!.field,
    lineage: {
      task: { name: task.name, digest },
      snapshotDigest: snapshot.digest,
      fingerprint: snapshot.fingerprint,
    },
    checkpoints: { load: () => blobs.getNamed(checkpoint), save: (bytes) => blobs.putNamed(checkpoint, bytes) },
  };
}

/** Says whose fault it is when training fails: stores that are away are nobody's, the rest is the candidate's. */
async function blaming<T>(work: () => Promise<T>): Promise<T> {
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
  { task, output }: CompiledTask,
  dev: readonly Example[],
): Promise<{ dev: DevMeasure; latencyUs: number }> {
  const student = await StudentModel.load(await openBundle(archive), { threads: 1 });
  try {
    const texts = dev.map(({ text }) => text);
    const logits = (await student.predict(texts)).map((prediction) => prediction[output.single!.field]!);
    const given = dev.map(({ target }) => argmax(target));
    const latencies = await singleLatencies(student, texts, TIMED_REQUESTS);
    return {
      dev: measureDev(logits, given, barOf(task.goal, dev.length, order.snapshot.testPairs)),
      latencyUs: Math.round(latencies[Math.floor(latencies.length / 2)]! * 1_000),
    };
  } finally {
    await student.release();
  }
}

async function loadExamples(job: Job, task: CompiledTask): Promise<Examples> {
  const { order, pairStoreAddress, rpcToken, traceparent } = job;
  const pairStore = createClient(PairStoreService, { address: pairStoreAddress, token: rpcToken });
  try {
    const read = (split: Split.TRAIN | Split.DEV): Promise<Example[]> =>
      readExamples(pairStore, order, split, task.output.single!, traceparent);
    // The pair store's order is that of pair ids, which are hashes: the first ones are a random part, and smaller parts lie within larger ones.
    return { train: (await read(Split.TRAIN)).slice(0, job.trainPairs), dev: await read(Split.DEV) };
  } finally {
    pairStore.close();
  }
}
