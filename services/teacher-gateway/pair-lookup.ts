import type { Pair } from '@understudy/contract';
import type { PairStoreService } from '@understudy/contract/pair-store';
import type { RpcClient } from '@understudy/service/rpc/client';
import { LOOKUP_INTERVAL_MS, LOOKUP_TIMEOUT_MS, MAX_LOOKUP_IDS } from './limits.ts';

interface Batch {
  readonly ids: Set<string>;
  readonly found: Promise<ReadonlyMap<string, Pair>>;
  readonly send: () => void;
}

interface Lane {
  batch: Batch | undefined;
  lastSentMs: number;
}

/** Finds pairs that were paid for already; what many prompts want at about the same time is one RPC. */
export class PairLookup {
  readonly #pairStore: RpcClient<typeof PairStoreService>;
  readonly #lanes = new Map<string, Lane>();

  constructor(pairStore: RpcClient<typeof PairStoreService>) {
    this.#pairStore = pairStore;
  }

  /** Rejects with RetryableError while the pair store is away. */
  async find(task: string, pairId: string): Promise<Pair | undefined> {
    const lane = this.#laneOf(task);
    lane.batch ??= this.#open(task, lane);
    const { ids, found, send } = lane.batch;
    ids.add(pairId);
    if (ids.size >= MAX_LOOKUP_IDS) send();
    return (await found).get(pairId);
  }

  #laneOf(task: string): Lane {
    const known = this.#lanes.get(task);
    if (known) return known;
    const lane: Lane = { batch: undefined, lastSentMs: Number.NEGATIVE_INFINITY };
    this.#lanes.set(task, lane);
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
    const timer = setTimeout(send, Math.max(0, lane.lastSentMs + LOOKUP_INTERVAL_MS - performance.now()));
    return { ids, found: promise, send };
  }

  async #ask(task: string, pairIds: string[]): Promise<ReadonlyMap<string, Pair>> {
    const { pairs } = await this.#pairStore.findPairs({ task, pairIds }, { timeoutMs: LOOKUP_TIMEOUT_MS });
    return new Map(pairs.map((pair) => [pair.pairId, pair]));
  }
}
