import { setImmediate as breathe } from 'node:timers/promises';
import { decide, type Policy, type StudentModel } from '@understudy/student';
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

/** The student's logits for each pair, in order. The event loop gets its turn between calls, or the message is lost. */
export async function logitsOf(
  student: StudentModel,
  pairs: readonly JudgedPair[],
  field: string,
): Promise<Float32Array[]> {
  const logits: Float32Array[] = [];
  for (let start = 0; start < pairs.length; start += TEXTS_PER_CALL) {
    const texts = pairs.slice(start, start + TEXTS_PER_CALL).map(({ text }) => text);
    for (const prediction of await student.predict(texts)) logits.push(prediction[field]!);
    await breathe();
  }
  return logits;
}

/** The decisions that a gateway would make under this policy. */
export function answersOf(pairs: readonly JudgedPair[], logits: readonly Float32Array[], policy: Policy): Answer[] {
  return pairs.map((pair, index) => {
    const { label, confidence, confident } = decide(logits[index]!, policy);
    const predicted = policy.labels.indexOf(label);
    return { pair, predicted, confidence, covered: confident, agrees: predicted === pair.label };
  });
}
