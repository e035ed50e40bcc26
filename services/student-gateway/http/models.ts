import type { ServedTask } from '../deployments/serving.ts';
import type { Handler } from './context.ts';
import { passThrough } from './pass-through.ts';
import { servedTask } from './request.ts';
import { sendJson } from './respond.ts';

const modelOf = ({ deployment }: ServedTask) => ({
  id: deployment.task,
  object: 'model',
  created: Number(deployment.since?.seconds ?? 0),
  owned_by: 'understudy',
});

/** `GET /v1/models`: the tasks that the caller may ask, then the upstream's models, where it lists any to this client. */
export const listModels: Handler = async (context, { caller, request, response }) => {
  const { serving, upstream } = context;
  const tasks = serving.all().filter(({ deployment }) => caller.mayAsk(deployment.task));
  const others = upstream && caller.mayPassThrough ? await upstream.models(request, !caller.keyInAuthorization) : [];
  sendJson(response, 200, { object: 'list', data: [...tasks.map(modelOf), ...others] });
};

/** `GET /v1/models/{task}`, or another model's. */
export const getModel: Handler = (context, call) => {
  const { caller, response, name } = call;
  if (context.upstream && !context.serving.get(name)) return passThrough(context, call);
  sendJson(response, 200, modelOf(servedTask(context, caller, name)));
};
