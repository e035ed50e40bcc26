import type { Deployment } from '@understudy/contract/deployer';
import { messageOf } from '@understudy/service/errors';
import type { DeployerContext } from './context.ts';
import { hasStudent } from './plan.ts';

export interface Round {
  everyMs: number;
  /** Of several deployers each looks; what it decides is decided once. */
  look: (deployment: Deployment) => Promise<void>;
  onFailure: (task: string, error: string) => void;
}

/** Looks at every student that serves, at once and again and again. A task that cannot be looked at keeps no other from it. */
export class Rounds {
  readonly #context: DeployerContext;
  readonly #round: Round;
  readonly #stopping = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(context: DeployerContext, round: Round) {
    this.#context = context;
    this.#round = round;
  }

  start(): void {
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const deployments = await this.#deployments();
      for (const deployment of deployments) if (!signal.aborted && hasStudent(deployment)) await this.#look(deployment);
      await pause(this.#round.everyMs, signal);
    }
  }

  async #deployments(): Promise<Deployment[]> {
    try {
      return await this.#context.deployments.list();
    } catch (error) {
      this.#round.onFailure('', messageOf(error));
      return [];
    }
  }

  async #look(deployment: Deployment): Promise<void> {
    try {
      await this.#round.look(deployment);
    } catch (error) {
      this.#round.onFailure(deployment.task, messageOf(error));
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
