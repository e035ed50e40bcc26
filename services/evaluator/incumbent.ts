import { fromJsonString } from '@bufbuild/protobuf';
import type { KV } from '@nats-io/kv';
import { DeploymentSchema } from '@understudy/contract/deployer';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { readKey } from '@understudy/service/bus/compare-and-set';
import { messageOf, TerminalError } from '@understudy/service/errors';
import { openBundle, type Policy, parsePolicy, StudentModel } from '@understudy/student';
import { headsOf } from '@understudy/student/description';
import type { CompiledTask } from '@understudy/task';
import { INFERENCE_THREADS } from './limits.ts';
import { blobOf } from './student.ts';
import type { Turn } from './turn.ts';

/** The student in service. */
export interface Incumbent {
  readonly digest: string;
  readonly policy: Policy;
  readonly student: StudentModel;
}

/**
 * The student that serves the task now; undefined where none does, where it is the very one that is judged, or where it answers by another
 * output schema and nothing can be compared. Release it.
 * @throws TerminalError when it cannot be read: then nothing can be said to be no worse
 */
export async function loadIncumbent(
  { deployments, blobs }: { deployments: KV; blobs: BlobStore },
  turn: Turn,
  task: CompiledTask,
): Promise<Incumbent | undefined> {
  const stored = await readKey(deployments, turn.task);
  if (stored === undefined) return undefined;
  const { studentDigest, policyDigest } = fromJsonString(DeploymentSchema, stored, { ignoreUnknownFields: true });
  if (studentDigest === '' || studentDigest === turn.student.digest) return undefined;
  const archive = await blobOf(blobs, 'students', studentDigest);
  const policyBytes = await blobOf(blobs, 'policies', policyDigest);
  try {
    const bundle = await openBundle(archive, studentDigest);
    const heads = headsOf(bundle.description);
    if (JSON.stringify(heads) !== JSON.stringify(task.output.heads)) return undefined;
    const policy = parsePolicy(new TextDecoder().decode(policyBytes));
    return { digest: studentDigest, policy, student: await StudentModel.load(bundle, { threads: INFERENCE_THREADS }) };
  } catch (error) {
    const reason = `the student in service, ${studentDigest}, cannot be compared with: ${messageOf(error)}`;
    throw new TerminalError(reason, { cause: error });
  }
}
