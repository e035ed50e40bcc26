import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import type { ConfidencesCounted } from '@understudy/contract';
import { DecisionSchema } from '@understudy/contract/deployer';
import type { DeployerContext } from './context.ts';
import { CONFIDENCE_BINS, SHIFTED_INDEX } from './limits.ts';
import { POLICY } from './moves.ts';
import { hasStudent } from './plan.ts';
import type { Proven } from './standings.ts';
import { confidencesCounted } from './watch.ts';

/**
 * Holds how sure the student is of what clients ask against how sure it was of the test pairs. Clients that ask other things make it less
 * sure, or sure of other shares. That is told once for each student: whether it matters, the audits say.
 */
export async function onConfidencesCounted(context: DeployerContext, fact: ConfidencesCounted): Promise<void> {
  const { decisions, deployments, publisher, standings, watches, journal } = context;
  const { task, servingGeneration, studentDigest, windowId, counts } = fact;
  const deployment = await deployments.get(task);
  if (!hasStudent(deployment) || deployment.servingGeneration !== servingGeneration) return;
  const expected = expectedOf(await standings.proven(deployment.reportDigest));
  const { full } = await watches.update(task, (before) =>
    confidencesCounted(before, { windowId, counts, generation: servingGeneration }, expected),
  );
  if (!full || full.index < SHIFTED_INDEX) return;
  const id = `shift-${servingGeneration}`;
  if (await decisions.has(task, id)) return;
  const at = timestampNow();
  const { taskDigest, generation } = deployment;
  const reason = `clients ask other things than the test pairs: population stability index ${full.index.toFixed(2)} over ${full.answers} answers (${SHIFTED_INDEX} is another population)`;
  const payload = {
    task,
    taskDigest,
    studentDigest,
    generation,
    stabilityIndex: full.index,
    answers: full.answers,
    at,
  };
  await publisher.publish({ type: 'traffic.shifted', entity: id, payload });
  const about = { task, id, at, action: 'shift', author: POLICY, reason, generation, studentDigest, taskDigest };
  await decisions.keep(create(DecisionSchema, about));
  journal.shifted(task, full.index);
}

/** Shares of the test pairs by bin of confidence; undefined where the report does not say. */
export function expectedOf({ test }: Proven): number[] | undefined {
  const bins = test?.calibration.bins ?? [];
  const pairs = bins.reduce((sum, bin) => sum + bin.pairs, 0);
  if (pairs === 0) return undefined;
  const shares = Array.from({ length: CONFIDENCE_BINS }, () => 0);
  for (const bin of bins) {
    const index = Math.min(CONFIDENCE_BINS - 1, Math.floor(((bin.from + bin.to) / 2) * CONFIDENCE_BINS));
    shares[index] = shares[index]! + bin.pairs / pairs;
  }
  return shares;
}
