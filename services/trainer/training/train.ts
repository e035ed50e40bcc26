import { Split } from '@understudy/contract';
import { PairStoreService } from '@understudy/contract/pair-store';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { TerminalError } from '@understudy/service/errors';
import { createClient } from '@understudy/service/rpc/client';
import { type Example, TrainingError, type TrainingReport, trainStudent } from '@understudy/student';
import { type CompiledTask, compileTask, parseTask, TaskError } from '@understudy/task';
import { type Order, seedOf } from '../order.ts';
import { checkpointName } from '../outcomes.ts';
import { readExamples } from './pairs.ts';
import type { Job, Trained } from './protocol.ts';

export type TrainHooks = {
  readonly onProgress: (report: TrainingReport) => void;
  readonly onCheckpointRefused: (error: Error) => void;
};

type Examples = { readonly train: Example[]; readonly dev: Example[] };

/**
 * Trains the student of an order and puts its bundle into the blob store. Goes on from the checkpoint of an earlier try.
 * @throws TerminalError when this order can lead to no student; anything else may be tried again
 */
export async function train(job: Job, blobs: BlobStore, hooks: TrainHooks): Promise<Trained> {
  const started = performance.now();
  const task = await loadTask(blobs, job.order);
  const examples = await loadExamples(job, task);
  const name = checkpointName(job.order);
  try {
    const { archive, description } = await trainStudent({
      ...examples,
      ...hooks,
      candidate: { family: 'bag' },
      labels: task.output.labels,
      seed: seedOf(job.order),
      threads: job.threads,
      device: job.device,
      checkpoints: { load: () => blobs.getNamed(name), save: (bytes) => blobs.putNamed(name, bytes) },
      field: task.output.field,
      lineage: {
        task: { name: task.task.name, digest: task.digest },
        snapshotDigest: job.order.snapshot.digest,
        fingerprint: job.order.snapshot.fingerprint,
      },
    });
    return {
      family: description.family,
      studentDigest: await blobs.put('students', archive),
      sizeBytes: archive.length,
      devAgreement: description.devAgreement,
      trainingMs: Math.round(performance.now() - started),
    };
  } catch (error) {
    if (!(error instanceof TrainingError)) throw error;
    throw new TerminalError(`no student can be trained: ${error.message}`, { cause: error });
  }
}

async function loadExamples(job: Job, task: CompiledTask): Promise<Examples> {
  const { order, pairStoreAddress, rpcToken, traceparent } = job;
  const pairStore = createClient(PairStoreService, { address: pairStoreAddress, token: rpcToken });
  try {
    const read = (split: Split.TRAIN | Split.DEV): Promise<Example[]> =>
      readExamples(pairStore, order, split, task.output.labels, traceparent);
    return { train: await read(Split.TRAIN), dev: await read(Split.DEV) };
  } finally {
    pairStore.close();
  }
}

async function loadTask(blobs: BlobStore, order: Order): Promise<CompiledTask> {
  let task: CompiledTask;
  try {
    const json = new TextDecoder().decode(await blobs.get('tasks', order.taskDigest));
    task = compileTask(parseTask(json, `task ${order.taskDigest}`));
  } catch (error) {
    const hopeless = error instanceof TaskError || (error instanceof BlobError && !error.retryable);
    throw hopeless ? new TerminalError(`tasks/${order.taskDigest} cannot be used`, { cause: error }) : error;
  }
  if (task.task.name === order.task && task.digest === order.taskDigest) return task;
  throw new TerminalError(
    `pairs.sealed is of ${order.task}, but the blob tasks/${order.taskDigest} holds ${task.task.name} (${task.digest})`,
  );
}
