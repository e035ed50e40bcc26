import type { DeployerContext } from '../context.ts';

export async function listDeployments({ deployments }: DeployerContext) {
  return { deployments: await deployments.list() };
}
