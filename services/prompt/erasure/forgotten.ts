/** Inputs that are not to be asked again: pair-store keeps the list. */
import type { StepContext } from '../context.ts';

const ID_BYTES = 32;

/** Ids (hex) out of 32 bytes each. */
export function idsOf(bytes: Uint8Array): string[] {
  return Array.from({ length: Math.floor(bytes.length / ID_BYTES) }, (_, n) =>
    Buffer.from(bytes.subarray(n * ID_BYTES, (n + 1) * ID_BYTES)).toString('hex'),
  );
}

/** All of a task's. @throws RetryableError while pair-store is away: rather than ask for what is forgotten, nothing is asked */
export async function forgottenOf(context: Pick<StepContext, 'forgetting'>, task: string): Promise<Set<string>> {
  const forgotten = new Set<string>();
  for await (const { promptIds } of context.forgetting.listForgotten({ task })) {
    for (const id of idsOf(promptIds)) forgotten.add(id);
  }
  return forgotten;
}
