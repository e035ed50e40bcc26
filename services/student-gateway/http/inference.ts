import { questionOf } from '../answering/answering.ts';
import type { ServedTask } from '../deployments/serving.ts';
import { readJson } from './body.ts';
import { provenanceOf } from './chat-answer.ts';
import type { Handler } from './context.ts';
import { inferRuleOf, readInferRequest } from './infer-request.ts';
import { servedTask, traceparentIn } from './request.ts';
import { sendJson } from './respond.ts';

/** The Open Inference Protocol, version 2, over REST: https://github.com/open-inference/open-inference-protocol */

/** `GET /v2` */
export const serverMetadata: Handler = (_context, { response }) =>
  sendJson(response, 200, { name: 'understudy', version: '0.1.0', extensions: [] });

/** `GET /v2/health/live` */
export const live: Handler = (_context, { response }) => sendJson(response, 200, { live: true });

/** `GET /v2/health/ready` */
export const ready: Handler = (context, { response }) => {
  const isReady = context.isReady();
  sendJson(response, isReady ? 200 : 503, { ready: isReady });
};

/** `GET /v2/models/{task}/ready` */
export const modelReady: Handler = (context, { caller, response, name }) => {
  servedTask(context, caller, name);
  sendJson(response, 200, { name, ready: true });
};

const version = ({ deployment }: ServedTask): string => String(deployment.generation);

/** `GET /v2/models/{task}` */
export const modelMetadata: Handler = (context, { caller, response, name }) => {
  const served = servedTask(context, caller, name);
  const column = (title: string, datatype: string) => ({ name: title, datatype, shape: [-1] });
  sendJson(response, 200, {
    name,
    versions: [version(served)],
    platform: 'understudy_onnx',
    inputs: served.task.task.input.fields.map((field) => column(field, 'BYTES')),
    outputs: [column('answer', 'BYTES'), column('answerer', 'BYTES'), column('confidence', 'FP64')],
  });
};

/** `POST /v2/models/{task}/infer`: all rows are answered, or none. */
export const infer: Handler = async (context, { caller, request, response, name }) => {
  const body = await readJson(request);
  const served = servedTask(context, caller, name);
  const { id, rows } = readInferRequest(served.task.task, body);
  const questions = rows.map((row) => questionOf(served, row, inferRuleOf(served.task.task)));
  const traceparent = traceparentIn(request);
  const answers = await Promise.all(
    questions.map((question) => context.answering.answer(served, question, traceparent)),
  );
  const column = (title: string, datatype: string, data: readonly unknown[]) => ({
    name: title,
    datatype,
    shape: [data.length],
    data,
  });
  const provenance = answers.map(provenanceOf);
  sendJson(response, 200, {
    model_name: name,
    model_version: version(served),
    ...(id === undefined ? {} : { id }),
    parameters: { student: provenance[0]!.student ?? '' },
    outputs: [
      column(
        'answer',
        'BYTES',
        answers.map(({ answerJson }) => answerJson),
      ),
      column(
        'answerer',
        'BYTES',
        answers.map(({ answerer }) => answerer),
      ),
      // A teacher that gives no probabilities has no confidence: the protocol has no nulls, so it is 0.
      column(
        'confidence',
        'FP64',
        provenance.map(({ confidence }) => confidence ?? 0),
      ),
    ],
  });
};
