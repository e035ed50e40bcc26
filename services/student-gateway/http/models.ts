import type { ServedTask } from '../deployments/serving.ts';
import type { Handler } from './context.ts';
import { servedTask } from './request.ts';
import { sendJson } from './respond.ts';

const modelOf = ({ deployment }: ServedTask) => ({
  id: deployment.task,
  object: 'model',
  created: Number(deployment.since?.seconds ?? 0),
  owned_by: 'understudy',
});

/** `GET /v1/models`: the tasks that the caller may ask. */
export const listModels: Handler = ({ serving }, { caller, response }) => {
  const allowed = serving.all().filter(({ deployment }) => caller.mayAsk(deployment.task));
  sendJson(response, 200, { object: 'list', data: allowed.map(modelOf) });
};

/** `GET /v1/models/{task}` */
export const getModel: Handler = (context, { caller, response, name }) =>
  sendJson(response, 200, modelOf(servedTask(context, caller, name)));
