import { fromJsonString, toJsonString } from '@bufbuild/protobuf';
import type { KV } from '@nats-io/kv';
import { type Deployment, DeploymentSchema } from '@understudy/contract/deployer';
import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';

/** Deployments in KV under their task's name, as protobuf JSON: gateways watch them, and people read them. */
export class Deployments {
  readonly #kv: KV;

  constructor(kv: KV) {
    this.#kv = kv;
  }

  async get(task: string): Promise<Deployment | undefined> {
    const text = await readKey(this.#kv, task);
    return text === undefined ? undefined : decode(text);
  }

  /** All deployments, by task. */
  async list(): Promise<Deployment[]> {
    const tasks = (await Array.fromAsync(await this.#kv.keys())).sort();
    const found = await Promise.all(tasks.map((task) => this.get(task)));
    return found.filter((deployment) => deployment !== undefined);
  }

  /** What stands of every task, and what stood before it as far as the bucket remembers. */
  async recent(): Promise<Deployment[]> {
    const entries = await Array.fromAsync(await this.#kv.history());
    return entries.filter(({ operation }) => operation === 'PUT').map((entry) => decode(entry.string()));
  }

  /**
   * Moves a task's deployment by compare-and-set: `decide` sees what is there, and again what others made of it meanwhile.
   * A result that is `moved` is written. What `decide` throws is thrown on.
   */
  move<R extends { kind: string; deployment?: Deployment }>(
    task: string,
    decide: (current: Deployment | undefined) => R,
  ): Promise<R> {
    return compareAndSet(this.#kv, task, (current) => {
      const result = decide(current === undefined ? undefined : decode(current));
      if (result.kind !== 'moved' || !result.deployment) return { result };
      return { write: toJsonString(DeploymentSchema, result.deployment), result };
    });
  }
}

function decode(text: string): Deployment {
  return fromJsonString(DeploymentSchema, text, { ignoreUnknownFields: true });
}
