import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { DecisionSchema, type Deployment } from '@understudy/contract/deployer';
import { deploymentPolicyOf } from '@understudy/task';
import type { DeployerContext } from './context.ts';
import { MIN_NEW_PAIRS, STREAM_TIMEOUT_MS } from './limits.ts';
import { POLICY } from './moves.ts';

/**
 * How often the new pairs have reached the share that the policy asks for. A student that learnt from few pairs is asked for some at least: below that no
 * report could tell it from the next one.
 */
export function timesReached(newPairs: number, snapshotPairs: number, share: number): number {
  if (share === 0) return 0;
  return Math.floor(newPairs / Math.max(share * snapshotPairs, MIN_NEW_PAIRS));
}

/**
 * Tells when so many pairs have come since the serving student's snapshot that the task's policy wants another student. Whether a run begins, prompt
 * decides. Told once for each time that the share is reached: fact and entry are named by generation and number.
 */
export async function lookForNewPairs(context: DeployerContext, deployment: Deployment): Promise<void> {
  const { decisions, journal, pairStore, publisher, standings } = context;
  const { task, taskDigest, studentDigest, generation, servingGeneration, challenger } = deployment;
  const { newPairsShare: share, runsPerWeek } = deploymentPolicyOf(await standings.task(taskDigest)).retrain;
  if (share === 0 || runsPerWeek === 0 || challenger) return;
  const { digest: snapshotDigest, trainPairs: snapshotPairs } = (await standings.proven(deployment.reportDigest))
    .snapshot;
  const { trainPairs: newPairs } = await pairStore.stats({ snapshotDigest }, { timeoutMs: STREAM_TIMEOUT_MS });
  const times = timesReached(newPairs, snapshotPairs, share);
  const id = `pairs-${servingGeneration}-${times}`;
  if (times === 0 || (await decisions.has(task, id))) return;
  const at = timestampNow();
  const reason = `${newPairs} pairs have come beside the ${snapshotPairs} that the student learnt from; deployment.retrain.newPairsShare is ${share}`;
  const about = { task, taskDigest, studentDigest, reason, at };
  await publisher.publish({
    type: 'pairs.gathered',
    entity: id,
    payload: { ...about, servingGeneration, snapshotDigest, snapshotPairs, newPairs, times },
  });
  await decisions.keep(create(DecisionSchema, { ...about, id, action: 'pairs', author: POLICY, generation }));
  journal.gathered(task, reason);
}
