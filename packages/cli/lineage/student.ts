/** The student itself, and the version of the task that it says it was trained for. */
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { type Description, openBundle } from '@understudy/student';
import { type CompiledTask, compileTask, parseTask } from '@understudy/task';
import { expectSame, Mismatch, type Taken, take } from './steps.ts';

/** The archive by its digest, each file in it by the bundle's own manifest. */
export const takeStudent = (blobs: BlobStore, digest: string): Promise<Taken<Description>> =>
  take('student', digest, async () => {
    const { description } = await openBundle(await blobs.get('students', digest), digest);
    const { family, precision, training } = description;
    return { says: `${family} in ${precision}, by ${training.code}, seed ${training.seed}`, found: description };
  });

export const takeTask = (blobs: BlobStore, { lineage }: Description): Promise<Taken<CompiledTask>> =>
  take('task', lineage.task.digest, async () => {
    const task = parseTask(new TextDecoder().decode(await blobs.get('tasks', lineage.task.digest)));
    const { name } = lineage.task;
    expectSame('the task that the student names', { name }, task);
    return { says: name, found: compileTask(task) };
  });

/** The student that is meant. @throws Mismatch where none or several are */
export async function studentByPrefix(blobs: BlobStore, prefix: string): Promise<string> {
  const found = await Array.fromAsync(blobs.list('students', prefix));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const came = only === undefined ? 'none' : `${found.length} of them`;
  throw new Mismatch(`expected one student whose digest begins with ${prefix}, ${blobs.location} has ${came}`);
}
