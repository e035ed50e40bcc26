import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { KV } from '@nats-io/kv';
import { RunStateSchema } from '@understudy/contract/prompt';
import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';
import { reach } from './kv.ts';
import type { Run } from './run.ts';
import { isFinished } from './run-state.ts';

/** A run id is a key of the bucket. */
const RUN_ID = /^[A-Za-z0-9_-]{1,64}$/;
export const isRunId = (text: string): boolean => RUN_ID.test(text);

/** Runs in KV; every change is a compare-and-set, so that none is lost. */
export class RunStore {
  readonly #kv: KV;

  constructor(kv: KV) {
    this.#kv = kv;
  }

  async get(runId: string): Promise<Run | undefined> {
    const text = isRunId(runId) ? await readKey(this.#kv, runId) : undefined;
    return text === undefined ? undefined : decodeRun(text);
  }

  /** Keeps a new run; the one that is there already where its id is taken. */
  create(run: Run): Promise<{ run: Run; created: boolean }> {
    return compareAndSet<{ run: Run; created: boolean }>(this.#kv, run.state.runId, (taken) =>
      taken === undefined
        ? { write: encodeRun(run), result: { run, created: true } }
        : { result: { run: decodeRun(taken), created: false } },
    );
  }

  /**
   * Changes a run; a change that returns the run it was given writes nothing. Undefined for an unknown run.
   * @throws RetryableError when others keep changing it, or the bus does not answer
   */
  async update(runId: string, change: (run: Run) => Run): Promise<{ before: Run; after: Run } | undefined> {
    if (!isRunId(runId)) return undefined;
    return compareAndSet(this.#kv, runId, (current) => {
      if (current === undefined) return { result: undefined };
      const before = decodeRun(current);
      const after = change(before);
      return after === before ? { result: { before, after } } : { write: encodeRun(after), result: { before, after } };
    });
  }

  /** All runs, newest first. */
  async list(): Promise<Run[]> {
    const runs: Run[] = [];
    for await (const entry of await reach(this.#kv.history())) {
      if (entry.operation === 'PUT') runs.push(decodeRun(entry.string()));
    }
    return runs.sort((a, b) => startedMs(b) - startedMs(a));
  }

  /** The run now and after each change, until it is finished. Nothing for an unknown run. */
  async *watch(runId: string, signal: AbortSignal): AsyncGenerator<Run> {
    if ((await this.get(runId)) === undefined) return;
    const entries = await reach(this.#kv.watch({ key: runId }));
    const stop = () => entries.stop();
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const entry of entries) {
        if (entry.operation !== 'PUT') return;
        const run = decodeRun(entry.string());
        yield run;
        if (isFinished(run)) return;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      entries.stop();
    }
  }
}

export function encodeRun(run: Run): string {
  return JSON.stringify({ ...run, state: toJson(RunStateSchema, run.state) });
}

export function decodeRun(json: string): Run {
  const stored = JSON.parse(json) as Omit<Run, 'state'> & { state: JsonValue };
  return { ...stored, state: fromJson(RunStateSchema, stored.state, { ignoreUnknownFields: true }) };
}

const startedMs = ({ state }: Run): number => (state.startedAt === undefined ? 0 : timestampMs(state.startedAt));
