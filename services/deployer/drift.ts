import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { type AnswerAudited, Purpose, Split } from '@understudy/contract';
import { DecisionSchema, type Deployment } from '@understudy/contract/deployer';
import { auditPolicyOf } from '@understudy/task';
import { askAgain, type CanaryRound } from './canaries.ts';
import type { DeployerContext } from './context.ts';
import { demoteFor } from './demote.ts';
import { STREAM_TIMEOUT_MS } from './limits.ts';
import { POLICY } from './moves.ts';
import { hasStudent } from './plan.ts';
import type { Watch } from './watch.ts';

/** Asks the teacher of the student that serves the same prompts again, where that is due at its task's intervals; of several deployers one does. */
export async function lookForDrift(context: DeployerContext, deployment: Deployment, nowMs: number): Promise<void> {
  const { standings, watches } = context;
  const { canaryHours, callsPerDay } = auditPolicyOf(await standings.task(deployment.taskDigest));
  if (callsPerDay === 0 || deployment.auditShare === 0) return;
  const claim = await watches.update(deployment.task, (before) =>
    claimed(before, deployment.servingGeneration, canaryHours * 3_600_000, nowMs),
  );
  if (claim.round === undefined) return;
  const round = await askAgain(context, deployment, claim.round);
  if (round.changed) await demoteFor(context, deployment, round, '', undefined);
  else await noticeRound(context, deployment, round);
}

/**
 * A round, if one is due. The first is due one interval after the student came: until then its pairs are news. A clock that went back
 * makes one due at once, one that went ahead does too, and then all goes on from there.
 */
export function claimed(
  before: Watch,
  serving: bigint,
  intervalMs: number,
  nowMs: number,
): { watch: Watch; round: number | undefined } {
  const generation = String(serving);
  const { drift } = before;
  if (drift?.generation !== generation) {
    return { watch: { ...before, drift: { generation, rounds: 0, lastAtMs: nowMs } }, round: undefined };
  }
  const passedMs = nowMs - drift.lastAtMs;
  if (passedMs >= 0 && passedMs < intervalMs) return { watch: before, round: undefined };
  const round = drift.rounds + 1;
  return { watch: { ...before, drift: { generation, rounds: round, lastAtMs: nowMs } }, round };
}

/** An audited answer of a teacher that calls itself otherwise: told once for each name. */
export async function noticeFingerprint(
  context: DeployerContext,
  deployment: Deployment,
  audits: readonly AnswerAudited[],
): Promise<void> {
  if (!hasStudent(deployment)) return;
  const seen = audits.find(
    ({ fingerprint, servingGeneration }) => fingerprint !== '' && servingGeneration === deployment.servingGeneration,
  )?.fingerprint;
  if (seen === undefined) return;
  const { snapshot } = await context.standings.proven(deployment.reportDigest);
  const told = 'an audited answer came from a teacher that calls itself otherwise';
  const round = {
    asked: 0,
    otherwise: 0,
    changed: false,
    fingerprint: snapshot.fingerprint,
    seenFingerprint: seen,
    told,
  };
  await noticeRound(context, deployment, round);
}

async function noticeRound(context: DeployerContext, deployment: Deployment, round: CanaryRound): Promise<void> {
  const renamed = round.seenFingerprint !== '' && round.seenFingerprint !== round.fingerprint;
  if (renamed) await tellDrift(context, deployment, round, false);
}

/**
 * The teacher is not what the student learnt from. Where its answers changed, what it said before proves nothing any more; where it has another
 * name alone, new pairs are kept under a fingerprint of their own anyway, and audits say whether the student still agrees.
 */
export async function tellDrift(
  context: DeployerContext,
  deployment: Deployment,
  round: CanaryRound,
  answersChanged: boolean,
): Promise<void> {
  const { decisions, publisher, standings, journal } = context;
  const { task, taskDigest, generation, studentDigest, servingGeneration } = deployment;
  const { epoch } = (await standings.task(taskDigest)).teacher;
  const id = answersChanged ? `drift-${servingGeneration}-${epoch}` : `drift-${round.seenFingerprint.slice(0, 32)}`;
  if (await decisions.has(task, id)) return;
  const at = timestampNow();
  const imported = !answersChanged && (await learntFromImports(context, deployment));
  const why = imported ? 'the student learnt from imported pairs, whose teacher has a name of its own' : RENAMED;
  const reason = answersChanged ? round.told : why;
  if (!imported) {
    await publisher.publish({
      type: 'teacher.drifted',
      entity: id,
      payload: {
        task,
        taskDigest,
        epoch,
        fingerprint: round.fingerprint,
        seenFingerprint: round.seenFingerprint,
        asked: round.asked,
        changed: round.otherwise,
        reason,
        at,
        answersChanged,
      },
    });
  }
  const about = { task, id, at, action: 'drift', author: POLICY, reason, generation, studentDigest, taskDigest };
  await decisions.keep(create(DecisionSchema, about));
  journal.drifted(task, reason);
}

const RENAMED = 'the teacher calls itself otherwise than when the student learnt from it';

/** Imported pairs never have the name of the teacher that is asked now: that it has another one says nothing, and must begin no run. */
async function learntFromImports({ pairStore, standings }: DeployerContext, deployment: Deployment): Promise<boolean> {
  const { snapshot } = await standings.proven(deployment.reportDigest);
  const asked = { snapshotDigest: snapshot.digest, split: Split.TRAIN };
  for await (const { pairs } of pairStore.streamPairs(asked, { timeoutMs: STREAM_TIMEOUT_MS })) {
    const own = pairs.find(({ pair }) => pair?.fingerprint === snapshot.fingerprint);
    if (own) return own.pair?.purpose === Purpose.IMPORTED;
  }
  return false;
}
