import type { Decision, ListDecisionsRequest } from '@understudy/contract/pair-store';
import type { PairStoreContext } from '../context.ts';
import { decisionsOf } from '../store/decisions.ts';

export async function* listDecisions({ database }: PairStoreContext, { task }: ListDecisionsRequest) {
  for (const decision of await decisionsOf(database, task)) yield { decision } satisfies { decision: Decision };
}
