import { type Deployment, Stage } from '@understudy/contract/deployer';
import type { DeployerContext } from './context.ts';
import { decisionOfMove, moveId } from './decisions.ts';
import { stageName } from './moves.ts';

/**
 * Tells of the move that led to this generation: a fact on the bus, an entry among the decisions. The record in KV holds all that both say, so
 * whoever comes again after a crash tells the same once more.
 */
export async function tell(
  context: Pick<DeployerContext, 'publisher' | 'decisions'>,
  deployment: Deployment,
  traceparent: string | undefined,
): Promise<void> {
  await publishMove(context, deployment, traceparent);
  await context.decisions.keep(decisionOfMove(deployment));
}

/** Tells of moves that an earlier process made and may have died before telling: what has its entry has been told. */
export async function tellAgain(context: DeployerContext): Promise<void> {
  for (const deployment of await context.deployments.recent()) {
    if (!deployment.move || (await context.decisions.has(deployment.task, moveId(deployment.generation)))) continue;
    await tell(context, deployment, undefined);
    context.journal.toldAgain(deployment);
  }
}

async function publishMove(
  { publisher }: Pick<DeployerContext, 'publisher'>,
  deployment: Deployment,
  traceparent: string | undefined,
): Promise<void> {
  const { task, taskDigest, studentDigest, policyDigest, reportDigest, runId, generation, move, challenger } =
    deployment;
  const [action, reason, author] = [move?.action ?? 'promoted', move?.reason ?? '', move?.author ?? ''];
  const about = { entity: String(generation), traceparent };
  switch (action) {
    case 'promoted':
    case 'live': {
      const payload = { runId, task, taskDigest, studentDigest, policyDigest, reportDigest, generation };
      return publisher.publish({ ...about, type: 'student.promoted', payload });
    }
    case 'demoted':
    case 'rolled-back': {
      const payload = { runId, task, taskDigest, studentDigest, generation, reason, author };
      return publisher.publish({ ...about, type: 'student.demoted', payload });
    }
    default: {
      if (!challenger || challenger.stage === Stage.UNSPECIFIED) return;
      const { $typeName: _, stage, share, auditShare, ahead, since, ...student } = challenger;
      const payload = { ...student, task, generation, stage: stageName({ stage }), reason };
      return publisher.publish({ ...about, type: 'student.staged', payload });
    }
  }
}
