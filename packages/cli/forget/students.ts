/** Which students came of forgotten inputs: by the snapshot that each of them names. */
import type { TouchedSnapshot } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { BundleError, openBundle } from '@understudy/student';

export interface Students {
  /** Learnt from the inputs: they were in train, or in dev, which chooses among students. */
  readonly learnt: readonly string[];
  /** Were judged with them alone. */
  readonly judged: readonly string[];
  /** Bundles that cannot be read, which may have learnt from anything. */
  readonly unreadable: readonly string[];
}

export const studentsOf = async (blobs: BlobStore, snapshots: readonly TouchedSnapshot[]): Promise<Students> => {
  const touched = new Map(snapshots.map((snapshot) => [snapshot.snapshotDigest, snapshot]));
  const students = { learnt: [] as string[], judged: [] as string[], unreadable: [] as string[] };
  for await (const digest of blobs.list('students', '')) {
    const snapshotDigest = await snapshotOf(blobs, digest);
    if (snapshotDigest === undefined) students.unreadable.push(digest);
    const snapshot = touched.get(snapshotDigest ?? '');
    if (!snapshot) continue;
    const { trainRows, devRows } = snapshot;
    (trainRows + devRows > 0 ? students.learnt : students.judged).push(digest);
  }
  return students;
};

const snapshotOf = async (blobs: BlobStore, digest: string): Promise<string | undefined> => {
  try {
    const { description } = await openBundle(await blobs.get('students', digest), digest);
    return description.lineage.snapshotDigest;
  } catch (error) {
    if (error instanceof BundleError) return undefined;
    throw error;
  }
};
