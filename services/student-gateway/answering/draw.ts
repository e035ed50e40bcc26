import { InputError } from '@understudy/task';
import type { ServedTask } from '../deployments/serving.ts';
import type { Question } from './answering.ts';

/** Who is asked, and whose answers will be compared with the teacher's: drawn before anything about the answer is known. */
export interface Draw {
  /** What serves, or the challenger in its place. */
  answering: ServedTask;
  /** As the one that answers reads it. */
  text: string;
  /** Probability with which this answer was drawn for a check; undefined where it was not. */
  audit: number | undefined;
  /** A challenger that predicts beside, for comparison only. */
  shadow: { served: ServedTask; text: string; propensity: number } | undefined;
}

/**
 * Draws for one request. A challenger with a share answers so many requests in the place of what serves. One without a share is in
 * shadow: it predicts beside for as many requests as are compared, and for all where the teacher answers anyway.
 * @param random gives numbers in [0, 1)
 */
export const draw = (served: ServedTask, question: Question, random: () => number = Math.random): Draw => {
  const { challenger } = served;
  if (!challenger) return own(served, question.text, random);
  const lot = random();
  if (challenger.share === 0) {
    const propensity = served.student ? challenger.served.deployment.auditShare : 1;
    const text = lot < propensity ? textFor(challenger.served, question, served) : undefined;
    const shadow = text === undefined ? undefined : { served: challenger.served, text, propensity };
    // One lot for both: where what serves is checked as well, one question to the teacher does.
    return { ...own(served, question.text, () => lot), shadow };
  }
  const text = lot < challenger.share ? textFor(challenger.served, question, served) : undefined;
  return text === undefined ? own(served, question.text, random) : own(challenger.served, text, random);
};

const own = (served: ServedTask, text: string, random: () => number): Draw => {
  const { auditShare } = served.deployment;
  const audit = auditShare > 0 && served.student !== undefined && random() < auditShare ? auditShare : undefined;
  return { answering: served, text, audit, shadow: undefined };
};

/** The text as another version of the task has it; undefined where that version refuses the input. */
const textFor = ({ task }: ServedTask, { inputJson, text }: Question, read: ServedTask): string | undefined => {
  if (task.digest === read.task.digest) return text;
  try {
    return task.renderText(task.canonicalInput(JSON.parse(inputJson)));
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
};
