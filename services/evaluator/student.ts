import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { type Bundle, BundleError, headsOf, openBundle, StudentModel } from '@understudy/student';
import { type CompiledTask, compileTask, parseTask, TaskError } from '@understudy/task';
import { INFERENCE_THREADS } from './limits.ts';
import type { Turn } from './turn.ts';

/**
 * The turn's task, by digest.
 * @throws TerminalError when it is not stored, damaged, or another task than the event says
 */
export async function loadTask(blobs: BlobStore, turn: Turn): Promise<CompiledTask> {
  const json = new TextDecoder().decode(await blobOf(blobs, 'tasks', turn.taskDigest));
  let task: CompiledTask;
  try {
    task = compileTask(parseTask(json, `task ${turn.taskDigest}`));
  } catch (error) {
    throw error instanceof TaskError ? new TerminalError(error.message, { cause: error }) : error;
  }
  if (task.task.name !== turn.task || task.digest !== turn.taskDigest) {
    throw new TerminalError(
      `student.trained is of ${turn.task}, but the blob tasks/${turn.taskDigest} holds ${task.task.name} (${task.digest})`,
    );
  }
  return task;
}

/**
 * The turn's student, its bundle verified and of this very task and snapshot. Release it.
 * @throws TerminalError when the bundle is not stored, damaged, or of something else
 */
export async function loadStudent(blobs: BlobStore, turn: Turn, task: CompiledTask): Promise<StudentModel> {
  const { digest } = turn.student;
  const archive = await blobOf(blobs, 'students', digest);
  if (archive.length !== turn.student.sizeBytes) {
    throw new TerminalError(
      `student.trained says that student ${digest} has ${turn.student.sizeBytes} bytes, its bundle has ${archive.length}`,
    );
  }
  try {
    const bundle = await openBundle(archive, digest);
    checkLineage(bundle, turn, task);
    return await StudentModel.load(bundle, { threads: INFERENCE_THREADS });
  } catch (error) {
    if (error instanceof TerminalError) throw error;
    const what = error instanceof BundleError ? `is no sound bundle (${error.code})` : 'does not run here';
    throw new TerminalError(`student ${digest} ${what}: ${messageOf(error)}`, { cause: error });
  }
}

/** A student of another snapshot may have been trained on these test pairs. */
function checkLineage({ description }: Bundle, turn: Turn, task: CompiledTask): void {
  const { heads, lineage } = description;
  const found = {
    task: lineage.task.name,
    taskDigest: lineage.task.digest,
    snapshot: lineage.snapshotDigest,
    heads: headsOf({ heads }),
  };
  const wanted = {
    task: turn.task,
    taskDigest: turn.taskDigest,
    snapshot: turn.snapshot.digest,
    heads: task.output.heads,
  };
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new TerminalError(
      `student ${turn.student.digest} is not of this run: expected ${JSON.stringify(wanted)}, its bundle says ${JSON.stringify(found)}`,
    );
  }
}

/** @throws TerminalError when it is not stored or damaged */
export async function blobOf(blobs: BlobStore, kind: string, digest: string): Promise<Uint8Array> {
  try {
    return await blobs.get(kind, digest);
  } catch (error) {
    if (!(error instanceof BlobError) || error.retryable) throw error;
    throw new TerminalError(`${kind}/${digest} cannot be used: ${error.message}`, { cause: error });
  }
}
