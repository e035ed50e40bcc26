import type { Deployment } from '@understudy/contract/deployer';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { type CompiledTask, compileTask, parseTask } from '@understudy/task';
import { type SessionOptions, StudentSession } from '../students/session.ts';
import type { DiskCache } from './disk-cache.ts';
import type { ServedTask } from './serving.ts';

export interface Loading {
  blobs: BlobStore;
  cache: DiskCache;
  /** Threads of one student's session. */
  inferenceThreads: number;
}

/**
 * Everything a deployment names, fetched (from the disk, where it is kept there intact), verified and warm.
 * @throws BlobError, TaskError, StudentUnfitError, ThreadDiedError: nothing is left running then
 */
export const loadDeployment = async (
  { blobs, cache, inferenceThreads }: Loading,
  deployment: Deployment,
  options: SessionOptions,
): Promise<ServedTask> => {
  const files = new Map<string, Uint8Array>();
  const fetch = async (kind: string, digest: string): Promise<Uint8Array> => {
    const bytes = (await cache.file(digest)) ?? (await blobs.get(kind, digest));
    files.set(digest, bytes);
    return bytes;
  };
  const task = taskOf(await fetch('tasks', deployment.taskDigest), deployment);
  const served = { deployment, files, task };
  if (deployment.studentDigest === '') return { ...served, student: undefined };
  const [bundle, policy] = await Promise.all([
    fetch('students', deployment.studentDigest),
    fetch('policies', deployment.policyDigest),
  ]);
  const policyJson = textOf(policy, 'policy');
  const { studentDigest } = deployment;
  const material = {
    studentDigest,
    bundle,
    policyJson,
    outputSchema: task.task.output.schema,
    warmUpTexts: warmUpTexts(task),
    threads: inferenceThreads,
  };
  return { ...served, student: await StudentSession.open(material, options) };
};

const textOf = (bytes: Uint8Array, what: string): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Error(`the ${what} of the deployment is not UTF-8 text`, { cause });
  }
};

const taskOf = (bytes: Uint8Array, deployment: Deployment): CompiledTask => {
  const task = compileTask(parseTask(textOf(bytes, 'task')));
  if (task.task.name !== deployment.task) {
    throw new Error(
      `the deployment of ${deployment.task} names the body of task ${task.task.name}: expected a body of its own`,
    );
  }
  return task;
};

/** Warming up with a few of the task's own texts sizes the session's memory for what will come. */
const maxWarmUpTexts = 8;

const warmUpTexts = (task: CompiledTask): string[] => {
  const own = task.task.examples.slice(0, maxWarmUpTexts);
  const texts = own.map(({ input }) => task.renderText(task.canonicalInput(input)));
  return texts.length > 0 ? texts : [task.task.prompt.template];
};
