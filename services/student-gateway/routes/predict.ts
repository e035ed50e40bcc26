import type { PredictRequest } from '@understudy/contract/student-gateway';
import { RetryableError } from '@understudy/service/errors';
import type { CallContext } from '@understudy/service/rpc/server';
import { invalidArgument, notFound } from '@understudy/service/rpc/status';
import { type Answering, questionOf } from '../answering/answering.ts';
import type { Serving } from '../deployments/serving.ts';
import { RequestError } from '../errors.ts';
import { answererCodes } from '../traffic/record.ts';

/** Answers one input over gRPC. Whoever holds the services' token may ask any task. */
export const predict = async (
  { answering, serving }: { answering: Answering; serving: Serving },
  request: PredictRequest,
  call: CallContext,
) => {
  const served = serving.get(request.task);
  if (!served) throw notFound(`the task ${JSON.stringify(request.task)} is not deployed here`);
  try {
    const question = questionOf(served, parsed(request.inputJson), 'input_json holds the fields of the input');
    const answer = await answering.answer(served, question, call.traceparent);
    return {
      answerJson: answer.answerJson,
      answerer: answererCodes[answer.answerer],
      confidence: answer.confidence ?? 0,
      studentDigest: answer.served.deployment.studentDigest,
      generation: answer.served.deployment.generation,
      requestId: answer.requestId,
    };
  } catch (error) {
    throw error instanceof RequestError ? rpcErrorOf(error) : error;
  }
};

const parsed = (json: string): unknown => {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw invalidArgument('input_json: expected a JSON object with the fields of the input', cause);
  }
};

const rpcErrorOf = (error: RequestError): Error => {
  if (error.kind === 'bad-request') return invalidArgument(error.message, error);
  return new RetryableError(error.message, {
    cause: error,
    ...(error.retryAfterMs === undefined ? {} : { afterMs: error.retryAfterMs }),
  });
};
