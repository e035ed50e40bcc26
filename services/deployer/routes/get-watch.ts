import type { GetWatchRequest } from '@understudy/contract/deployer';
import { notFound } from '@understudy/service/rpc/status';
import type { DeployerContext } from '../context.ts';
import { evidenceOf, shownLevel } from '../judge.ts';
import { hasStudent } from '../plan.ts';
import { subjectOf } from '../watch.ts';
import { checkTaskName } from './task-name.ts';

/** How a task's students do: of the one that serves and of the challenger, what their checked answers say. */
export async function getWatch({ deployments, standings, watches }: DeployerContext, { task }: GetWatchRequest) {
  checkTaskName(task);
  const deployment = await deployments.get(task);
  if (deployment === undefined) throw notFound(`no student of ${task} was promoted yet`);
  const watch = await watches.get(task);
  const { challenger, studentDigest, servingGeneration: generation, taskDigest } = deployment;
  const places = [
    ...(hasStudent(deployment) ? [{ studentDigest, generation, taskDigest, stage: undefined }] : []),
    ...(challenger ? [challenger] : []),
  ];
  const evidence = await Promise.all(
    places.map(async (place) => {
      const { goal } = await standings.bar(place.taskDigest);
      const counts = subjectOf(watch, place) ?? { checks: 0, disagreements: 0 };
      return evidenceOf(place, counts, goal, shownLevel(place.stage));
    }),
  );
  const index = watch.shift?.index ?? undefined;
  const inputShift = index === undefined ? {} : { inputShift: index };
  return { deployment, evidence, driftRounds: watch.drift?.rounds ?? 0, ...inputShift };
}
