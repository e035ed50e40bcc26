import { create } from '@bufbuild/protobuf';
import { type Challenger, type Deployment, DeploymentSchema } from '@understudy/contract/deployer';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { Trusted } from '@understudy/student';
import { type CompiledTask, compileTask, type IdKey, parseTask } from '@understudy/task';
import { Confidences } from '../auditing/confidences.ts';
import { type SessionOptions, StudentSession } from '../students/session.ts';
import type { DiskCache } from './disk-cache.ts';
import type { ServedTask } from './serving.ts';
import { checkSigned } from './signatures.ts';

export interface Loading {
  blobs: BlobStore;
  cache: DiskCache;
  /** Threads of one student's session. */
  inferenceThreads: number;
  trusted: Trusted;
  /** The platform's, for ids of prompts. */
  idKey: IdKey;
}

/** A student in use, by all that makes it what it is: one that goes on serving is not loaded again. */
const keyOf = ({ taskDigest, studentDigest, policyDigest }: Deployment) =>
  `${taskDigest} ${studentDigest} ${policyDigest}`;

/**
 * What serves and the challenger beside it. A challenger that does not load takes nothing from what serves: then it is left out.
 * @param current what serves now; students that stay are taken over from it
 * @throws as `loadOne` does for what serves
 */
export const loadDeployment = async (
  loading: Loading,
  deployment: Deployment,
  options: SessionOptions,
  current: ServedTask | undefined,
): Promise<{ served: ServedTask; missing: unknown }> => {
  const inUse = [current, current?.challenger?.served].filter((one) => one?.student);
  const reuse = (wanted: Deployment) => inUse.find((one) => keyOf(one!.deployment) === keyOf(wanted))?.student;
  const served = await loadOne(loading, deployment, options, reuse(deployment));
  const { challenger } = deployment;
  if (!challenger || challenger.auditShare === 0) return { served, missing: undefined };
  const alone = aloneOf(deployment, challenger);
  try {
    const beside = await loadOne(loading, alone, options, reuse(alone));
    const files = new Map([...served.files, ...beside.files]);
    const signatures = new Map([...served.signatures, ...beside.signatures]);
    return {
      served: { ...served, files, signatures, challenger: { served: beside, share: challenger.share } },
      missing: undefined,
    };
  } catch (error) {
    return { served, missing: error };
  }
};

/** The challenger as if it were the deployment. */
const aloneOf = (deployment: Deployment, challenger: Challenger): Deployment => {
  const { taskDigest, studentDigest, policyDigest, reportDigest, runId, auditShare } = challenger;
  const own = { taskDigest, studentDigest, policyDigest, reportDigest, runId, auditShare };
  const { task, generation, since } = deployment;
  return create(DeploymentSchema, { task, generation, since, ...own, servingGeneration: challenger.generation });
};

/**
 * Everything a deployment names, fetched (from the disk, where it is kept there intact), verified and warm.
 * @throws BlobError, SignatureError, TaskError, StudentUnfitError, ThreadDiedError: nothing is left running then
 */
const loadOne = async (
  loading: Loading,
  deployment: Deployment,
  options: SessionOptions,
  running: StudentSession | undefined,
): Promise<ServedTask> => {
  const { blobs, cache, inferenceThreads, idKey } = loading;
  const files = new Map<string, Uint8Array>();
  const fetch = async (kind: string, digest: string): Promise<Uint8Array> => {
    const bytes = (await cache.file(digest)) ?? (await blobs.get(kind, digest));
    files.set(digest, bytes);
    return bytes;
  };
  const task = taskOf(await fetch('tasks', deployment.taskDigest), deployment, idKey);
  const served = { deployment, files, task, confidences: new Confidences(), challenger: undefined };
  if (deployment.studentDigest === '') return { ...served, signatures: new Map(), student: undefined };
  const signatures = await checkSigned(loading, deployment);
  // Its files were verified when it was loaded; they are read again so that they are kept.
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
  return { ...served, signatures, student: running ?? (await StudentSession.open(material, options)) };
};

const textOf = (bytes: Uint8Array, what: string): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Error(`the ${what} of the deployment is not UTF-8 text`, { cause });
  }
};

const taskOf = (bytes: Uint8Array, deployment: Deployment, idKey: IdKey): CompiledTask => {
  const task = compileTask(parseTask(textOf(bytes, 'task')), idKey);
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
