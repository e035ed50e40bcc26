import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { headsOf, openBundle, parsePolicy } from '@understudy/student';
import type { Candidate } from './moves.ts';

/**
 * Makes sure that a gateway could serve the candidate: bundle and policy are stored, undamaged, made for each other, and
 * of the task and snapshot that the report is about.
 * @throws TerminalError saying what is wrong
 */
export async function checkServable(blobs: BlobStore, candidate: Candidate, snapshotDigest: string): Promise<void> {
  const { studentDigest, policyDigest, task, taskDigest } = candidate;
  const archive = await blobOf(blobs, 'students', studentDigest);
  const { heads, lineage } = await sound(`student ${studentDigest}`, async () => {
    return (await openBundle(archive, studentDigest)).description;
  });
  const json = new TextDecoder().decode(await blobOf(blobs, 'policies', policyDigest));
  const policy = await sound(`policy ${policyDigest}`, async () => parsePolicy(json));
  const expected = {
    task,
    taskDigest,
    snapshotDigest,
    policyFor: studentDigest,
    heads: headsOf({ heads }).map(({ name }) => name),
  };
  const found = {
    task: lineage.task.name,
    taskDigest: lineage.task.digest,
    snapshotDigest: lineage.snapshotDigest,
    policyFor: policy.studentDigest,
    heads: policy.heads.map(({ name }) => name),
  };
  if (JSON.stringify(expected) !== JSON.stringify(found)) {
    throw new TerminalError(
      `student, policy and report do not belong together: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`,
    );
  }
}

async function sound<T>(what: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    throw new TerminalError(`${what} cannot be served: ${messageOf(error)}`, { cause: error });
  }
}

async function blobOf(blobs: BlobStore, kind: string, digest: string): Promise<Uint8Array> {
  try {
    return await blobs.get(kind, digest);
  } catch (error) {
    if (!(error instanceof BlobError) || error.retryable) throw error;
    throw new TerminalError(`${kind}/${digest} cannot be served: ${error.message}`, { cause: error });
  }
}
