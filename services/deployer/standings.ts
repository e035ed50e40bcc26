import type { Deployment } from '@understudy/contract/deployer';
import type { EvaluatorService } from '@understudy/contract/evaluator';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { TerminalError } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { deploymentPolicyOf, parseTask, sha256Hex, type Task } from '@understudy/task';
import { z } from 'zod';
import type { Bar } from './judge.ts';
import { MAX_KNOWN_STANDINGS } from './limits.ts';
import { hasStudent, type Plan, planOf } from './plan.ts';

/** The part of a report that a deployment is watched by; reports may say more. */
const Proven = z.object({
  snapshot: z.object({ digest: z.string(), fingerprint: z.string(), trainPairs: z.int().min(0) }),
  test: z
    .object({
      calibration: z.object({ bins: z.array(z.object({ from: z.number(), to: z.number(), pairs: z.number() })) }),
    })
    .nullable(),
});
export type Proven = z.infer<typeof Proven>;

/** What students are held to: their task's version, and the report that proved them. Both are kept by digest and never change. */
export class Standings {
  readonly #blobs: BlobStore;
  readonly #evaluator: RpcClient<typeof EvaluatorService>;
  readonly #tasks = new Map<string, Task>();
  readonly #reports = new Map<string, Proven>();

  constructor(blobs: BlobStore, evaluator: RpcClient<typeof EvaluatorService>) {
    this.#blobs = blobs;
    this.#evaluator = evaluator;
  }

  /** @throws TerminalError when there is no such version */
  async task(digest: string): Promise<Task> {
    const known = this.#tasks.get(digest);
    if (known) return known;
    try {
      const task = parseTask(new TextDecoder().decode(await this.#blobs.get('tasks', digest)));
      remember(this.#tasks, digest, task);
      return task;
    } catch (error) {
      if (error instanceof BlobError && error.retryable) throw error;
      throw new TerminalError(`version ${digest} of the task cannot be read`, { cause: error });
    }
  }

  /** @throws RpcError or RetryableError while the evaluator does not hand it out; TerminalError where it is another one */
  async proven(reportDigest: string): Promise<Proven> {
    const known = this.#reports.get(reportDigest);
    if (known) return known;
    const { reportJson } = await this.#evaluator.getReport({ reportDigest });
    if (sha256Hex(reportJson) !== reportDigest) throw new TerminalError(`report ${reportDigest} has another digest`);
    const proven = Proven.parse(JSON.parse(reportJson));
    remember(this.#reports, reportDigest, proven);
    return proven;
  }

  async bar(taskDigest: string): Promise<Bar> {
    const task = await this.task(taskDigest);
    return { goal: task.goal.agreement, tolerance: deploymentPolicyOf(task).tolerance };
  }

  /** The way of a student of this version beside what serves. */
  async plan(taskDigest: string, current: Deployment | undefined): Promise<Plan> {
    const serving = hasStudent(current) ? await this.task(current.taskDigest) : undefined;
    return planOf(await this.task(taskDigest), serving, current);
  }
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.set(key, value);
  if (map.size > MAX_KNOWN_STANDINGS) map.delete(map.keys().next().value!);
}
