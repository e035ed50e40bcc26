import { setImmediate as breathe } from 'node:timers/promises';
import { decide, type Policy, type StudentModel } from '@understudy/student';
import { TEXTS_PER_CALL, TIMED_REQUESTS, WARM_UP_REQUESTS } from './limits.ts';
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

/** Milliseconds of single requests, one after the other, over the pairs' texts, rising. */
export async function singleLatencies(student: StudentModel, pairs: readonly JudgedPair[]): Promise<number[]> {
  const textAt = (request: number) => pairs[request % pairs.length]!.text;
  if (pairs.length === 0) return [];
  for (let request = 0; request < WARM_UP_REQUESTS; request += 1) await student.predict([textAt(request)]);
  const latencies: number[] = [];
  for (let request = 0; request < TIMED_REQUESTS; request += 1) {
    const started = performance.now();
    await student.predict([textAt(request)]);
    latencies.push(performance.now() - started);
    if (request % TEXTS_PER_CALL === 0) await breathe();
  }
  return latencies.sort((a, b) => a - b);
}
