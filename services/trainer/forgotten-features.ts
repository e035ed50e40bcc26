/** What encoders gave for texts is kept by token ids, which say nothing of prompts: it all goes when something is forgotten. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Erasure, ForgettingService } from '@understudy/contract/pair-store';
import { messageOf } from '@understudy/service/errors';
import { InTurn } from '@understudy/service/in-turn';
import type { RpcClient } from '@understudy/service/rpc/client';
import type { Logger } from '@understudy/service/telemetry';
import { sha256Hex } from '@understudy/task';
import { ERASURES_EVERY_MS } from './limits.ts';

export interface FeaturesOptions {
  /** Where they are. */
  folder: string;
  forgetting: Pick<RpcClient<typeof ForgettingService>, 'listErasures'>;
  log: Logger;
}

/**
 * The features that this replica keeps. An erasure is led by somebody who reaches one replica alone; all others, and those that were away, see
 * it in pair-store's journal. The journal changes once more when an erasure is done: what a training under way has kept until then goes too.
 */
export class ForgottenFeatures {
  readonly #options: FeaturesOptions;
  /** Beside the folder: which journal its features have been through. */
  readonly #seenFile: string;
  readonly #turn = new InTurn();
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FeaturesOptions) {
    this.#options = options;
    this.#seenFile = `${options.folder}.erasures`;
  }

  start(): void {
    void this.#look();
    this.#timer = setInterval(() => this.#look(), ERASURES_EVERY_MS);
  }

  /** Resolves when a look under way has ended; a pair-store that hangs is not waited for. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#turn.do(async () => {});
  }

  /** Drops all of them; the next training asks the encoder again. @returns how many files there were */
  drop(): Promise<number> {
    return this.#turn.do(() => this.#drop());
  }

  /** Drops all of them where something was forgotten since the last look. @throws RetryableError, RpcError while pair-store is away */
  follow(): Promise<number> {
    return this.#turn.do(async () => {
      const { erasures } = await this.#options.forgetting.listErasures({}, { signal: this.#stopping.signal });
      const journal = erasures.length === 0 ? '' : sha256Hex(erasures.map(lineOf).join('\n'));
      if (journal === (await readIfThere(this.#seenFile))) return 0;
      const dropped = await this.#drop();
      await writeFile(this.#seenFile, journal);
      return dropped;
    });
  }

  async #look(): Promise<void> {
    try {
      await this.follow();
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#options.log.warn({ error: messageOf(error) }, 'what was forgotten is not known, asking again');
    }
  }

  async #drop(): Promise<number> {
    const { folder } = this.#options;
    const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const name of names) await rm(join(folder, name), { force: true });
    return names.length;
  }
}

const lineOf = ({ erasureId, requestedAt, doneAt }: Erasure): string =>
  [erasureId, ...[requestedAt, doneAt].map((time) => (time ? timestampMs(time) : ''))].join(' ');

const readIfThere = async (file: string): Promise<string> => {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
};
