import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { LoadPlan, LoadResult } from './serve-load.ts';

/** A process that puts load on a server, one plan after the other: warm from the second on. */
export class LoadGenerator implements AsyncDisposable {
  readonly #child: ChildProcess = fork(resolve(import.meta.dirname, 'serve-load.ts'));

  async run(plan: LoadPlan): Promise<LoadResult> {
    this.#child.send(plan);
    const ended = new AbortController();
    const result = once(this.#child, 'message', { signal: ended.signal });
    const exit = (code: number | null) => ended.abort(new Error(`the load generator ended with ${code} and no result`));
    this.#child.once('exit', exit);
    try {
      return (await result)[0] as LoadResult;
    } catch (error) {
      throw ended.signal.reason ?? error;
    } finally {
      this.#child.off('exit', exit);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}
