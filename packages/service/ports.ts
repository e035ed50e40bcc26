/**
 * Ports on loopback for processes that are started later, and perhaps killed and started again. A port that is free now
 * is not theirs yet: whoever else looks in the meantime finds it free as well. So ports are owned in blocks. A block is
 * its owner's as long as it listens on the block's first port, which the system sees to, also when the owner is killed.
 */
import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { StartupError } from './errors.ts';

/** Below the range that systems hand out for outgoing connections, any of which could take a port that is free for a moment. */
const first = 20_000;
/** Enough for a whole platform: two for each process of seven services and of 15 further replicas. */
const blockPorts = 60;
const blocks = 200;
/** Ports and blocks looked at before giving up: those of other programs are passed over. */
const maxTries = 1_000;

const listening = (port: number): Promise<Server | undefined> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });

const isFree = async (port: number): Promise<boolean> => {
  const server = await listening(port);
  await new Promise((closed) => (server ? server.close(closed) : closed(undefined)));
  return server !== undefined;
};

/** Which block a port is of; none has it where it lies outside of all. */
export const blockOf = (port: number): number => Math.floor((port - first) / blockPorts);

/** Hands out ports that are free, each once, and to nobody else as long as this process lives. */
export class Ports {
  readonly #draw: () => number;
  readonly #given = new Set<number>();
  #mine: number[] = [];
  #drawing: Promise<void> | undefined;

  /** @param draw the next block to try, 0 to 199 */
  constructor(draw = () => randomInt(blocks)) {
    this.#draw = draw;
  }

  /**
   * @param preferred taken if it is free
   * @throws StartupError when other programs have them all
   */
  async free(preferred?: number): Promise<number> {
    if (preferred !== undefined) {
      await this.#own(blockOf(preferred));
      if (await this.#take(preferred)) return preferred;
    }
    for (let tries = 0; tries < maxTries; tries += 1) {
      const port = this.#mine.shift();
      if (port === undefined) await this.#another();
      else if (await this.#take(port)) return port;
    }
    throw new StartupError(
      `expected a free port from ${first} on; ${maxTries} tries found none: end programs that listen`,
    );
  }

  /** @throws StartupError naming the setting when the port is taken */
  async fixed(port: number, setting: string): Promise<number> {
    if (await this.#take(port)) return port;
    throw new StartupError(`${setting}: port ${port} is taken by another program; choose another one, or leave it out`);
  }

  /** One more block, if the one that is drawn is nobody's; for all who ask for ports at the same time. */
  #another(): Promise<void> {
    this.#drawing ??= this.#own(this.#draw()).finally(() => {
      this.#drawing = undefined;
    });
    return this.#drawing;
  }

  /** Makes a block ours, unless it is somebody's. */
  async #own(block: number): Promise<void> {
    if (block < 0 || block >= blocks) return;
    const start = first + block * blockPorts;
    const guard = await listening(start);
    guard?.unref();
    if (guard) this.#mine = Array.from({ length: blockPorts - 1 }, (_, index) => start + 1 + index);
  }

  async #take(port: number): Promise<boolean> {
    if (this.#given.has(port)) return false;
    this.#given.add(port);
    return isFree(port);
  }
}
