/** What lineage tells about each step, and what makes one broken. */
import { BlobError } from '@understudy/service/blobs/blob-store';
import { messageOf, RetryableError } from '@understudy/service/errors';
import { RpcError } from '@understudy/service/rpc/status';
import { SignatureError } from '@understudy/service/signatures/dsse';
import { BundleError } from '@understudy/student';
import { TaskError } from '@understudy/task';
import type { z } from 'zod';

export type StepName =
  | 'task'
  | 'prompt'
  | 'pair'
  | 'split'
  | 'snapshot'
  | 'student'
  | 'run'
  | 'report'
  | 'policy'
  | 'signature'
  | 'approval'
  | 'deployment';

export interface Step {
  readonly step: StepName;
  /**
   * `absent`: it never came to this step. `unverified`: what it would be checked against is away, or is broken itself.
   * `erased`: inputs were forgotten since; what is left is verified, and fits what is gone by its digests.
   * `broken`: something is missing, or is not what its digest or another step says.
   */
  readonly state: 'verified' | 'absent' | 'unverified' | 'erased' | 'broken';
  /** Of what the step is about, where that is one thing. */
  readonly digest?: string;
  readonly says: string;
}

/** A step that does not fit the others. */
export class Mismatch extends Error {
  override readonly name = 'Mismatch';
}

/** @throws Mismatch naming the first field in which the two differ */
export function expectSame(
  what: string,
  expected: Readonly<Record<string, unknown>>,
  came: Readonly<Record<string, unknown>>,
): void {
  for (const [field, value] of Object.entries(expected)) {
    if (came[field] === value) continue;
    throw new Mismatch(`${what}: ${field}: expected ${JSON.stringify(value)}, came ${JSON.stringify(came[field])}`);
  }
}

/** A blob that is JSON of this shape. @throws Mismatch where it is none */
export function parsedAs<S extends z.ZodType>(schema: S, bytes: Uint8Array, what: string): z.infer<S> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new Mismatch(`${what} is not JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Mismatch(`${what} is none that this version knows: ${issue?.path.join('.')}: ${issue?.message}`);
}

/** A step with what the next ones need of it; nothing where it is not verified. */
export interface Taken<T> {
  readonly step: Step;
  readonly found: T | undefined;
}

/** Takes a step: what `look` throws because of what it looked at makes the step broken, or unverified while somebody is away. */
export async function take<T>(
  step: StepName,
  digest: string | undefined,
  look: () => Promise<{ says: string; found: T; state?: Step['state'] }>,
): Promise<Taken<T>> {
  const about = { step, ...(digest === undefined ? {} : { digest }) };
  try {
    const { says, found, state = 'verified' } = await look();
    return { step: { ...about, state, says }, found };
  } catch (error) {
    return { step: { ...about, ...verdictOn(error) }, found: undefined };
  }
}

/** @throws whatever says nothing about the step */
function verdictOn(error: unknown): Pick<Step, 'state' | 'says'> {
  const away = error instanceof RetryableError || (error instanceof BlobError && error.retryable);
  if (away) return { state: 'unverified', says: error.message };
  const kinds = [Mismatch, BlobError, BundleError, RpcError, SignatureError, TaskError];
  if (!kinds.some((kind) => error instanceof kind)) throw error;
  return { state: 'broken', says: messageOf(error) };
}

/** A step that cannot be taken because of another. */
export const behind = (step: StepName, says: string): Step => ({ step, state: 'unverified', says });
