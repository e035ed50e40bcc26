/** `predict` and `rollback`: the student that serves. */
import { toJson } from '@bufbuild/protobuf';
import { Answerer } from '@understudy/contract';
import { DeploymentSchema } from '@understudy/contract/deployer';
import { PredictResponseSchema } from '@understudy/contract/student-gateway';
import { connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { percent } from '../format.ts';
import type { Output } from '../output.ts';

const answererNames: Record<Answerer, string> = {
  [Answerer.UNSPECIFIED]: 'nobody',
  [Answerer.STUDENT]: 'the student',
  [Answerer.TEACHER]: 'the teacher',
  [Answerer.STUDENT_UNSURE]: 'the student, unsure, because the teacher is away',
};

/** Asks for one answer. The input is JSON, or `field=value` arguments, or JSON on standard input. */
export const predict = async (output: Output, task: string, input: string[]): Promise<void> => {
  const inputJson = await readInput(input);
  using connection = connect();
  const answer = await connection.studentGateway.predict({ task, inputJson });
  output.answer(toJson(PredictResponseSchema, answer) as object, () => [
    answer.answerJson,
    `answered by ${answererNames[answer.answerer]}, ${percent(answer.confidence)} sure${answer.studentDigest === '' ? '' : ` (student ${answer.studentDigest.slice(0, 12)})`}`,
  ]);
};

const readInput = async (args: readonly string[]): Promise<string> => {
  const [first] = args;
  if (first === undefined) return requireJson((await Array.fromAsync(process.stdin)).join(''), 'standard input');
  if (args.length === 1 && first.trimStart().startsWith('{')) return requireJson(first, 'the input');
  const fields = args.map((arg) => {
    const at = arg.indexOf('=');
    if (at > 0) return [arg.slice(0, at), arg.slice(at + 1)];
    throw new ExitError(exitCodes.badInput, `input: expected a JSON object or field=value, got ${JSON.stringify(arg)}`);
  });
  return JSON.stringify(Object.fromEntries(fields));
};

const requireJson = (text: string, where: string): string => {
  try {
    JSON.parse(text);
    return text;
  } catch (cause) {
    const message = `${where}: expected a JSON object with the task's fields: ${(cause as Error).message}`;
    throw new ExitError(exitCodes.badInput, message, { cause });
  }
};

/** Back to the student before; where there was none, the teacher answers everything. */
export const rollback = async (output: Output, task: string, options: { reason: string }): Promise<void> => {
  using connection = connect();
  const { deployment } = await connection.deployer.rollback({ task, reason: options.reason });
  if (!deployment) throw new ExitError(exitCodes.failed, 'the deployer gave no deployment');
  const now =
    deployment.studentDigest === '' ? 'the teacher alone' : `student ${deployment.studentDigest.slice(0, 12)}`;
  output.answer(toJson(DeploymentSchema, deployment) as object, () => [
    `${task} is now served by ${now} (generation ${deployment.generation})`,
  ]);
};
