import type { KV } from '@nats-io/kv';
import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';
import { parseWatch, type Watch } from './watch.ts';

/** Watches in KV under their task's name. */
export class Watches {
  readonly #kv: KV;

  constructor(kv: KV) {
    this.#kv = kv;
  }

  async get(task: string): Promise<Watch> {
    return parseWatch(await readKey(this.#kv, task));
  }

  /** Changes a watch by compare-and-set; what changes nothing writes nothing. */
  update<R extends { watch: Watch }>(task: string, change: (before: Watch) => R): Promise<R> {
    return compareAndSet(this.#kv, task, (text) => {
      const before = parseWatch(text);
      const result = change(before);
      const write = JSON.stringify(result.watch);
      return write === JSON.stringify(before) ? { result } : { write, result };
    });
  }
}
