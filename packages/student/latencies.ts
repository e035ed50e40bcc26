import { setImmediate as breathe } from 'node:timers/promises';
import type { StudentModel } from './student-model.ts';

/** Requests that only warm the student up, before those that count. */
export const WARM_UP_REQUESTS = 50;
/** After so many the event loop gets its turn: whoever measures also keeps messages alive. */
const REQUESTS_PER_TURN = 64;

/**
 * Milliseconds of so many single requests, one after the other, over the texts in turn; rising. None without texts.
 * The student's threads decide what they mean: load it with one.
 */
export async function singleLatencies(
  student: StudentModel,
  texts: readonly string[],
  requests: number,
): Promise<number[]> {
  if (texts.length === 0) return [];
  const textAt = (request: number): string => texts[request % texts.length]!;
  for (let request = 0; request < WARM_UP_REQUESTS; request += 1) await student.predict([textAt(request)]);
  const latencies: number[] = [];
  for (let request = 0; request < requests; request += 1) {
    const started = performance.now();
    await student.predict([textAt(request)]);
    latencies.push(performance.now() - started);
    if (request % REQUESTS_PER_TURN === 0) await breathe();
  }
  return latencies.sort((a, b) => a - b);
}
