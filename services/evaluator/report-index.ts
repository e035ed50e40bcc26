import type { KV } from '@nats-io/kv';
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';
import { canonicalJson } from '@understudy/task';
import { z } from 'zod';
import { MAX_KEPT_REPORTS } from './limits.ts';
import { type Report, ReportSchema } from './report.ts';
import type { Turn } from './turn.ts';

const Entry = z.strictObject({
  sequence: z.int().min(1),
  digest: z.string(),
  turn: z.string(),
  runId: z.string(),
  passed: z.boolean(),
});
const Index = z.strictObject({ sequence: z.int().min(0), newest: z.array(Entry) });
type Index = z.infer<typeof Index>;

/** A report that this evaluator wrote. */
export interface KeptReport {
  report: Report;
  /** The report's bytes, as text: their SHA-256 is `digest`. */
  json: string;
  digest: string;
  /** Position among the task's reports, from 1. */
  sequence: number;
}

/**
 * Reports: their bytes by digest in the blob store, and in KV which of them this evaluator wrote, in which order. A blob
 * alone is no report: anyone who can write blobs can make one.
 */
export class ReportIndex {
  readonly #kv: KV;
  readonly #blobs: BlobStore;

  constructor(kv: KV, blobs: BlobStore) {
    this.#kv = kv;
    this.#blobs = blobs;
  }

  /** Keeps a turn's report; the turn's first report where it has one already. */
  async keep(turn: Turn, report: Report): Promise<KeptReport> {
    const json = canonicalJson(ReportSchema.parse(report));
    const digest = await this.#blobs.put('reports', new TextEncoder().encode(json));
    const entry = await compareAndSet(this.#kv, turn.task, (current) => {
      const index = parse(current);
      const first = index.newest.find((one) => one.turn === turn.id);
      if (first) return { result: first };
      const sequence = index.sequence + 1;
      const made = { sequence, digest, turn: turn.id, runId: turn.runId, passed: report.verdict.passed };
      const newest = [...index.newest, made].slice(-MAX_KEPT_REPORTS);
      return { write: JSON.stringify({ sequence, newest } satisfies Index), result: made };
    });
    return entry.digest === digest ? { report, json, digest, sequence: entry.sequence } : this.#read(entry);
  }

  /** The report of a turn that was judged before, or undefined. */
  async ofTurn(turn: Turn): Promise<KeptReport | undefined> {
    const entry = (await this.#index(turn.task)).newest.find((one) => one.turn === turn.id);
    return entry && this.#read(entry);
  }

  /** The report with this digest, or undefined when none of ours has it. */
  async byDigest(digest: string): Promise<KeptReport | undefined> {
    let report: Report;
    try {
      ({ report } = await this.#readBlob(digest));
    } catch (error) {
      if (isNoReport(error)) return undefined;
      throw error;
    }
    const entry = (await this.#index(report.task)).newest.find((one) => one.digest === digest);
    return entry && this.#read(entry);
  }

  /** Reports of a task, newest first. Those whose blob is gone are left out. */
  async *ofTask(task: string): AsyncGenerator<KeptReport> {
    for (const entry of (await this.#index(task)).newest.toReversed()) {
      if (await this.#blobs.has('reports', entry.digest)) yield await this.#read(entry);
    }
  }

  async #index(task: string): Promise<Index> {
    return parse(await readKey(this.#kv, task));
  }

  async #read({ digest, sequence }: z.infer<typeof Entry>): Promise<KeptReport> {
    return { ...(await this.#readBlob(digest)), digest, sequence };
  }

  async #readBlob(digest: string): Promise<{ report: Report; json: string }> {
    const json = new TextDecoder().decode(await this.#blobs.get('reports', digest));
    return { report: ReportSchema.parse(JSON.parse(json)), json };
  }
}

function parse(text: string | undefined): Index {
  return text === undefined ? { sequence: 0, newest: [] } : Index.parse(JSON.parse(text));
}

/** True for a digest that names no blob, or one that is no report. */
const isNoReport = (error: unknown): boolean =>
  error instanceof z.ZodError ||
  error instanceof SyntaxError ||
  (error instanceof BlobError && (error.code === 'not-found' || error.code === 'bad-key'));
