import type { Deployment } from '@understudy/contract/deployer';
import type { DeployerContext } from './context.ts';
import type { Moved } from './moves.ts';
import { tell } from './tell.ts';

/** Moves by compare-and-set and tells of it; a move that somebody else made is theirs to tell. */
export async function move(
  context: DeployerContext,
  task: string,
  decide: (current: Deployment) => Moved,
  traceparent?: string,
): Promise<Moved> {
  const result = await context.deployments.move<Moved>(task, (current) =>
    current ? decide(current) : { kind: 'refused', reason: `no student of ${task} was ever deployed` },
  );
  if (result.kind !== 'moved') return result;
  context.journal.moved(result.deployment);
  await tell(context, result.deployment, traceparent);
  return result;
}
