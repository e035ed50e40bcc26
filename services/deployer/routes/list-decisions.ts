import type { ListDecisionsRequest } from '@understudy/contract/deployer';
import type { DeployerContext } from '../context.ts';
import { checkTaskName } from './task-name.ts';

export async function listDecisions({ decisions }: DeployerContext, { task }: ListDecisionsRequest) {
  checkTaskName(task);
  return { decisions: await decisions.list(task) };
}
