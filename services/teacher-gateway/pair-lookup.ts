import type { Pair } from '@understudy/contract';
import type { PairStoreService } from '@understudy/contract/pair-store';
import type { RpcClient } from '@understudy/service/rpc/client';
import { LIVE_LOOKUP_INTERVAL_MS, LOOKUP_INTERVAL_MS, LOOKUP_TIMEOUT_MS, MAX_LOOKUP_IDS } from './limits.ts';

interface Batch {
  readonly ids: Set<string>;
  readonly found: Promise<ReadonlyMap<string, Pair>>;
  readonly send: () => void;
}

interface Lane {
  batch: Batch | undefined;
  lastSentMs: number;
  intervalMs: number;
}

/** Finds pairs that were paid for already; what many prompts want at about the same time is one RPC. */
export class PairLookup {
  readonly #pairStore: RpcClient<typeof PairStoreService>;
  readonly #lanes = new Map<string, Lane>();

  constructor(pairStore: RpcClient<typeof PairStoreService>) {
    this.#pairStore = pairStore;
  }

  /**
   * Rejects with RetryableError while the pair store is away.
   * @param live somebody waits: fewer share an RPC
   */
  async find(task: string, pairId: string, live: boolean): Promise<Pair | undefined> {
    const lane = this.#laneOf(task, live);
    lane.batch ??= this.#open(task, lane);
    const { ids, found, send } = lane.batch;
    ids.add(pairId);
    if (ids.size >= MAX_LOOKUP_IDS) send();
    return (await found).get(pairId);
  }

  #laneOf(task: string, live: boolean): Lane {
    const name = live ? `${task} live` : task;
    const known = this.#lanes.get(name);
    if (known) return known;
    const intervalMs = live ? LIVE_LOOKUP_INTERVAL_MS : LOOKUP_INTERVAL_MS;
    const lane: Lane = { batch: undefined, lastSentMs: Number.NEGATIVE_INFINITY, intervalMs };
    this.#lanes.set(name, lane);
    return lane;
  }

  /** Sent when it is full, or the interval since the one before is over; a lone prompt does not wait. */
  #open(task: string, lane: Lane): Batch {
    const ids = new Set<string>();
    const { promise, resolve } = Promise.withResolvers<ReadonlyMap<string, Pair>>();
    const send = () => {
      clearTimeout(timer);
      lane.batch = undefined;
      lane.lastSentMs = performance.now();
      resolve(this.#ask(task, [...ids]));
    };
    const timer = setTimeout(send, Math.max(0, lane.lastSentMs + lane.intervalMs - performance.now()));
    return { ids, found: promise, send };
  }

  async #ask(task: string, pairIds: string[]): Promise<ReadonlyMap<string, Pair>> {
    const { pairs } = await this.#pairStore.findPairs({ task, pairIds }, { timeoutMs: LOOKUP_TIMEOUT_MS });
    return new Map(pairs.map((pair) => [pair.pairId, pair]));
  }
}
