// Ports on loopback. Taken from below the range that systems hand out for outgoing connections, so that a service that
// is started again finds its port still free.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { StartupError } from '@understudy/service/errors';

const range = { first: 20_000, last: 32_000 };
const maxTries = 200;

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

/** Hands out free ports, each once. */
export class Ports {
  readonly #given = new Set<number>();

  /** @param preferred taken if it is free */
  async free(preferred?: number): Promise<number> {
    if (preferred !== undefined && (await this.#take(preferred))) return preferred;
    for (let tries = 0; tries < maxTries; tries += 1) {
      const port = randomInt(range.first, range.last);
      if (await this.#take(port)) return port;
    }
    throw new StartupError(`none of ${maxTries} ports tried between ${range.first} and ${range.last} is free`);
  }

  /** @throws StartupError naming the setting when the port is taken */
  async fixed(port: number, setting: string): Promise<number> {
    if (await this.#take(port)) return port;
    throw new StartupError(`${setting}: port ${port} is taken by another program; choose another one, or leave it out`);
  }

  async #take(port: number): Promise<boolean> {
    if (this.#given.has(port) || !(await isFree(port))) return false;
    this.#given.add(port);
    return true;
  }
}
