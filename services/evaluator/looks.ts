import type { KV } from '@nats-io/kv';
import type { BlobStore } from '@understudy/service/blobs/blob-store';

import { compareAndSet, readKey } from '@understudy/service/bus/compare-and-set';
import { z } from 'zod';
import { MAX_COMPARED_LOOKS, MAX_KEPT_LOOKS } from './limits.ts';
import type { Turn } from './turn.ts';

const Look = z.strictObject({
  look: z.int().min(1),
  turn: z.string(),
  runId: z.string(),
  studentDigest: z.string(),
  snapshotDigest: z.string(),
  testPairs: z.int().min(0),
  /** Blob digest of the prompt ids looked at: sorted, one a line. */
  manifestDigest: z.string(),
  at: z.iso.datetime(),
});
const Ledger = z.strictObject({ looks: z.int().min(0), newest: z.array(Look) });
type Ledger = z.infer<typeof Ledger>;

/** One look at test pairs, and what earlier looks have seen of them. */
export interface ClaimedLook {
  look: number;
  pairsSeenBefore: number;
}

/** Kind of the blobs that hold which prompts a look has seen. */
const MANIFESTS = 'looks';

/**
 * Every look at a task's test pairs, over all its runs, snapshots and versions. A look is recorded before anything is
 * learnt from it, so that neither a crash nor a repetition gives a free one. The k-th look of the task pays the k-th
 * level, whichever pairs it sees: that is never cheaper than counting the looks at each pair, and holds the chance to
 * promote a bad student over all of the task's life. Which pairs were seen is kept too, and reported.
 */
export class Looks {
  readonly #kv: KV;
  readonly #blobs: BlobStore;

  constructor(kv: KV, blobs: BlobStore) {
    this.#kv = kv;
    this.#blobs = blobs;
  }

  /** The number that this turn's look has or would have. */
  async expected(turn: Turn): Promise<number> {
    const ledger = parse(await readKey(this.#kv, turn.task));
    return ledger.newest.find((look) => look.turn === turn.id)?.look ?? ledger.looks + 1;
  }

  /**
   * Records this turn's look at these prompts; a turn that has one keeps it.
   * @throws RetryableError when bus or blob store cannot be reached
   */
  async claim(turn: Turn, promptIds: readonly string[]): Promise<ClaimedLook> {
    const sorted = promptIds.toSorted();
    const manifestDigest = await this.#blobs.put(MANIFESTS, new TextEncoder().encode(sorted.join('\n')));
    const at = new Date().toISOString();
    const { look, earlier } = await compareAndSet(this.#kv, turn.task, (current) => {
      const ledger = parse(current);
      const claimed = ledger.newest.find((one) => one.turn === turn.id);
      if (claimed) return { result: { look: claimed.look, earlier: before(ledger, claimed.look) } };
      const made = {
        look: ledger.looks + 1,
        turn: turn.id,
        runId: turn.runId,
        studentDigest: turn.student.digest,
        snapshotDigest: turn.snapshot.digest,
        testPairs: sorted.length,
        manifestDigest,
        at,
      };
      const newest = [...ledger.newest, made].slice(-MAX_KEPT_LOOKS);
      return {
        write: JSON.stringify({ looks: made.look, newest } satisfies Ledger),
        result: { look: made.look, earlier: before(ledger, made.look) },
      };
    });
    return { look, pairsSeenBefore: await this.#seen(new Set(sorted), earlier) };
  }

  async #seen(promptIds: ReadonlySet<string>, manifests: readonly string[]): Promise<number> {
    const seen = new Set<string>();
    for (const digest of manifests) {
      const ids = new TextDecoder().decode(await this.#blobs.get(MANIFESTS, digest)).split('\n');
      for (const id of ids) if (promptIds.has(id)) seen.add(id);
    }
    return seen.size;
  }
}

function parse(text: string | undefined): Ledger {
  return text === undefined ? { looks: 0, newest: [] } : Ledger.parse(JSON.parse(text));
}

/** The distinct test sets of the looks before this one, the newest of them. */
function before(ledger: Ledger, look: number): string[] {
  const manifests = ledger.newest.filter((one) => one.look < look).map((one) => one.manifestDigest);
  return [...new Set(manifests.toReversed())].slice(0, MAX_COMPARED_LOOKS);
}
