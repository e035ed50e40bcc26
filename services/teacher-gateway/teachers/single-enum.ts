import { type Teacher, TeacherError, type TeacherReply, type TeacherTask } from './teacher.ts';

export interface SingleEnum {
  readonly field: string;
  readonly labels: readonly string[];
}

/**
 * The one enum field that a classifier can answer.
 * @throws TeacherError (`rejected`) for every other output
 */
export const singleEnumOf = ({ name, single }: TeacherTask, kind: Teacher['kind']): SingleEnum => {
  if (single) return single;
  throw new TeacherError(
    'rejected',
    `task ${name}: a teacher of the kind ${kind} answers one enum field, expected output.schema to be one; use openai, anthropic or nats`,
  );
};

/** The answer of a classifier: the most probable label, the first of equals. @param probabilities of each label, in order, summing to 1 */
export const mostProbable = (
  { field, labels }: SingleEnum,
  probabilities: readonly number[],
): Pick<TeacherReply, 'content' | 'soft'> => {
  const label = labels[probabilities.indexOf(Math.max(...probabilities))];
  if (label === undefined || probabilities.length !== labels.length) {
    throw new RangeError(`expected a probability for each of ${labels.length} labels, got ${probabilities}`);
  }
  return { content: JSON.stringify({ [field]: label }), soft: { [field]: probabilities } };
};
