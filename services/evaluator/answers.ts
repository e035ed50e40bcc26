import { setImmediate as breathe } from 'node:timers/promises';
import { decide, type Policy, type Prediction, type StudentModel } from '@understudy/student';
import type { OutputPlan } from '@understudy/task';
import { TEXTS_PER_CALL } from './limits.ts';
import type { JudgedPair } from './pairs.ts';

/** What the student made of a pair. */
export interface Answer {
  pair: JudgedPair;
  /** Canonical JSON; undefined where only the teacher can answer. */
  answer: string | undefined;
  confidence: number;
  /** Whether the student answers it itself. */
  covered: boolean;
  /** Whether the whole answer is the teacher's. */
  agrees: boolean;
  /** The same by head; undefined without an answer. */
  heads: Readonly<Record<string, boolean>> | undefined;
  /** Whose answer is the source's own truth, where it has one. */
  right: { student: boolean; teacher: boolean } | undefined;
}

/** What the student gives for each pair, in order. The event loop gets its turn between calls, or the message is lost. */
export async function predictionsOf(student: StudentModel, pairs: readonly JudgedPair[]): Promise<Prediction[]> {
  const predictions: Prediction[] = [];
  for (let start = 0; start < pairs.length; start += TEXTS_PER_CALL) {
    const texts = pairs.slice(start, start + TEXTS_PER_CALL).map(({ text }) => text);
    predictions.push(...(await student.predict(texts)));
    await breathe();
  }
  return predictions;
}

/** The decisions that a gateway would make under this policy. */
export function answersOf(
  pairs: readonly JudgedPair[],
  predictions: readonly Prediction[],
  policy: Policy,
  plan: OutputPlan,
): Answer[] {
  return pairs.map((pair, index) => {
    const { answer, confidence, confident } = decide(predictions[index]!, policy, plan, pair.text);
    const agreement = answer === undefined ? undefined : plan.agreement(answer, pair.answer);
    return {
      ...{ pair, answer, confidence },
      covered: confident,
      agrees: agreement?.whole ?? false,
      heads: agreement?.heads,
      right: rightOf(answer, pair, plan),
    };
  });
}

function rightOf(answer: string | undefined, pair: JudgedPair, plan: OutputPlan): Answer['right'] {
  const { reference } = pair;
  if (reference === undefined) return undefined;
  const isRight = (given: string | undefined) => given !== undefined && plan.agreement(given, reference).whole;
  return { student: isRight(answer), teacher: isRight(pair.answer) };
}
