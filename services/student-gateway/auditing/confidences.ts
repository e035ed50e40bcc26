import { randomUUID } from 'node:crypto';
import type { Publisher } from '@understudy/service/bus/publish';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import type { ServedTask, Serving } from '../deployments/serving.ts';
import { confidenceWindowMs } from '../limits.ts';

/** As many as reports have. */
const bins = 15;

/** How often a student was how sure, since it was last asked. */
export class Confidences {
  #counts = new Uint32Array(bins);
  #total = 0;

  add(confidence: number): void {
    const bin = Math.min(bins - 1, Math.floor(confidence * bins));
    this.#counts[bin] = this.#counts[bin]! + 1;
    this.#total += 1;
  }

  /** The counts, which begin anew; undefined where there are none. */
  take(): number[] | undefined {
    if (this.#total === 0) return undefined;
    const counts = [...this.#counts];
    this.#counts = new Uint32Array(bins);
    this.#total = 0;
    return counts;
  }
}

/** Tells now and then how sure the students that serve were. @returns stops it */
export const tellConfidences = (serving: Serving, publisher: Publisher, log: Logger): (() => void) => {
  const tell = async ({ deployment, confidences }: ServedTask) => {
    if (deployment.servingGeneration === 0n) return;
    const counts = confidences.take();
    if (!counts) return;
    const { task, taskDigest, studentDigest, servingGeneration } = deployment;
    const windowId = randomUUID();
    const payload = { task, taskDigest, studentDigest, servingGeneration, counts, windowId };
    await publisher
      .publish({ type: 'confidences.counted', entity: windowId, payload })
      .catch((error) => log.warn({ task, error: messageOf(error) }, 'confidences were not told'));
  };
  const timer = setInterval(() => {
    for (const served of serving.all()) void tell(served);
  }, confidenceWindowMs);
  return () => clearInterval(timer);
};
