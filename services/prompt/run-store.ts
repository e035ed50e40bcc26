import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { KV } from '@nats-io/kv';
import { RunStateSchema } from '@understudy/contract/prompt';
import { RetryableError } from '@understudy/service/errors';
import { isConflict, reach } from './kv.ts';
import { MAX_CAS_ATTEMPTS } from './limits.ts';
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
    return (await this.#entry(runId))?.run;
  }

  /** Keeps a new run; the one that is there already where its id is taken. */
  async create(run: Run): Promise<{ run: Run; created: boolean }> {
    try {
      await reach(this.#kv.create(run.state.runId, encodeRun(run)));
      return { run, created: true };
    } catch (error) {
      const taken = await this.get(run.state.runId);
      if (taken === undefined || !isConflict(error)) throw error;
      return { run: taken, created: false };
    }
  }

  /**
   * Changes a run; a change that returns the run it was given writes nothing. Undefined for an unknown run.
   * @throws RetryableError when others keep changing it
   */
  async update(runId: string, change: (run: Run) => Run): Promise<{ before: Run; after: Run } | undefined> {
    for (let attempt = 0; attempt < MAX_CAS_ATTEMPTS; attempt += 1) {
      const entry = await this.#entry(runId);
      if (entry === undefined) return undefined;
      const after = change(entry.run);
      if (after === entry.run) return { before: entry.run, after };
      try {
        await reach(this.#kv.update(runId, encodeRun(after), entry.revision));
        return { before: entry.run, after };
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
    throw new RetryableError(`run ${runId}: others changed it ${MAX_CAS_ATTEMPTS} times in a row`);
  }

  /** All runs, newest first. */
  async list(): Promise<Run[]> {
    const runs: Run[] = [];
    for await (const entry of await reach(this.#kv.history())) {
      if (entry.operation === 'PUT') runs.push(decodeRun(entry.value));
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
        const run = decodeRun(entry.value);
        yield run;
        if (isFinished(run)) return;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      entries.stop();
    }
  }

  async #entry(runId: string): Promise<{ run: Run; revision: number } | undefined> {
    if (!isRunId(runId)) return undefined;
    const entry = await reach(this.#kv.get(runId));
    if (entry === null || entry.operation !== 'PUT') return undefined;
    return { run: decodeRun(entry.value), revision: entry.revision };
  }
}

export function encodeRun(run: Run): string {
  return JSON.stringify({ ...run, state: toJson(RunStateSchema, run.state) });
}

export function decodeRun(bytes: Uint8Array): Run {
  const stored = JSON.parse(new TextDecoder().decode(bytes)) as Omit<Run, 'state'> & { state: JsonValue };
  return { ...stored, state: fromJson(RunStateSchema, stored.state, { ignoreUnknownFields: true }) };
}

const startedMs = ({ state }: Run): number => (state.startedAt === undefined ? 0 : timestampMs(state.startedAt));
