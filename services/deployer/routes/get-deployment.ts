import type { GetDeploymentRequest } from '@understudy/contract/deployer';
import { notFound } from '@understudy/service/rpc/status';
import type { DeployerContext } from '../context.ts';
import { checkTaskName } from './task-name.ts';

export async function getDeployment({ deployments }: DeployerContext, { task }: GetDeploymentRequest) {
  checkTaskName(task);
  const deployment = await deployments.get(task);
  if (deployment === undefined) throw notFound(`no student of ${task} was promoted yet`);
  return { deployment };
}
