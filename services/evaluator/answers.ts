import { setImmediate as breathe } from 'node:timers/promises';
import { decide, type Policy, type Prediction, type StudentModel } from '@understudy/student';
import type { OutputPlan } from '@understudy/task';
import { TEXTS_PER_CALL } from './limits.ts';
import type { JudgedPair } from './pairs.ts';

/** What the student made of a pair; labels are indices. */
export interface Answer {
  pair: JudgedPair;
  predicted: number;
  confidence: number;
  /** Whether the student answers it itself. */
  covered: boolean;
  agrees: boolean;
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
  const labels = plan.heads[0]?.kind === 'choice' ? plan.heads[0].values : [];
  const known = new Map(labels.map((_, index) => [plan.decode([{ kind: 'choice', index }], ''), index]));
  return pairs.map((pair, index) => {
    const { answer, confidence, confident } = decide(predictions[index]!, policy, plan, pair.text);
    const predicted = known.get(answer) ?? -1;
    return { pair, predicted, confidence, covered: confident, agrees: predicted === pair.label };
  });
}
