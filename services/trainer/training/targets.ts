/** What a pair's answer says of each head, and what several answers to one prompt say together. */
import type { Pair } from '@understudy/contract';
import { messageOf, TerminalError } from '@understudy/service/errors';
import type { HeadTarget } from '@understudy/student';
import { denseTarget } from '@understudy/student/heads/targets';
import type { Head, HeadValue, OutputPlan } from '@understudy/task';

/** One answer: as it was given, and by head. */
export type Sample = { readonly answerJson: string; readonly target: readonly HeadTarget[] };

/**
 * What a pair says of each head, with the teacher's probabilities where it gave any.
 * @returns the reason where a student cannot learn the answer because it copies what is not in the text
 * @throws TerminalError when the answer is not one that the task allows
 */
export function sampleOf(pair: Pair, plan: OutputPlan, where: string): Sample | { readonly reason: string } {
  const soft = new Map(pair.soft.map(({ head, probabilities }) => [head, probabilities]));
  const strange = [...soft.keys()].find((name) => !plan.heads.some((head) => head.name === name));
  if (strange !== undefined) throw new TerminalError(`${where}: pair ${pair.pairId} has probabilities of "${strange}"`);
  try {
    const encoded = plan.encode(pair.answerJson, pair.text);
    if (!encoded.ok) return { reason: `${encoded.head}: ${encoded.reason}` };
    if (!encoded.values.every(isKnown)) throw new RangeError('the task allows no such answer');
    const target = plan.heads.map((head, i): HeadTarget => {
      const probabilities = soft.get(head.name);
      return { value: encoded.values[i]!, ...(probabilities && { probabilities }) };
    });
    return { answerJson: pair.answerJson, target };
  } catch (cause) {
    const answer = pair.answerJson.slice(0, 200);
    throw new TerminalError(`${where}: pair ${pair.pairId} has the answer ${answer}: ${messageOf(cause)}`, { cause });
  }
}

/** Whether a choice is one of the values, and a set of the labels, that the task has. */
const isKnown = (value: HeadValue): boolean =>
  value.kind === 'choice'
    ? Number.isInteger(value.index)
    : value.kind !== 'tags' || value.indices.every(Number.isInteger);

/**
 * Several answers to one prompt as one: the most frequent (the first of equals), with the mean of their probabilities.
 * Copied text has no probabilities: of it, the most frequent answer counts alone.
 */
export function mergedTarget(heads: readonly Head[], samples: readonly Sample[]): Sample {
  const [only] = samples as [Sample, ...Sample[]];
  if (samples.length === 1) return only;
  const byAnswer = Map.groupBy(samples, ({ answerJson }) => answerJson);
  const [chosen] = [...byAnswer.values()].reduce((a, b) => (b.length > a.length ? b : a)) as [Sample, ...Sample[]];
  const target = heads.map((head, i): HeadTarget => {
    const { value } = chosen.target[i] as HeadTarget;
    if (head.kind === 'span') return { value };
    const rows = samples.map((sample) => denseTarget(head, sample.target[i] as HeadTarget));
    const probabilities = (rows[0] as readonly number[]).map(
      (_, at) => rows.reduce((sum, row) => sum + (row[at] as number), 0) / rows.length,
    );
    return { value, probabilities };
  });
  return { answerJson: chosen.answerJson, target };
}
