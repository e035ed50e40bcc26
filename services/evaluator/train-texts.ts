import { Split } from '@understudy/contract';
import type { PairStoreService } from '@understudy/contract/pair-store';
import type { RpcClient } from '@understudy/service/rpc/client';
import { STREAM_TIMEOUT_MS } from './limits.ts';

export interface TrainOf {
  readonly pairStore: RpcClient<typeof PairStoreService>;
  readonly snapshotDigest: string;
  readonly traceparent: string | undefined;
  readonly signal: AbortSignal;
}

/** The texts that the student was trained on, as they come: what is unlike them all goes to the teacher. */
export async function* trainTexts({ pairStore, snapshotDigest, traceparent, signal }: TrainOf): AsyncGenerator<string> {
  const request = { snapshotDigest, split: Split.TRAIN };
  for await (const chunk of pairStore.streamPairs(request, { timeoutMs: STREAM_TIMEOUT_MS, traceparent, signal })) {
    for (const { pair } of chunk.pairs) if (pair) yield pair.text;
  }
}
