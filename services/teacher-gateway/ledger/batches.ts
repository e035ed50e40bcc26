/**
 * Decisions about what providers' batches of one version of a task cost, free of I/O. They are one value that is changed by
 * compare-and-set, an entry for each file of a batch: what it may still cost, and what it did. A batch is paid from the budget
 * of the run that begins next, which takes it over before its first lease, and has so much less to spend: the two together
 * never spend more than the budget. Later runs have budgets of their own again, as they have of each other.
 */
import { z } from 'zod';
import { type Amount, amount, isNothing, nothing, plus } from './budget.ts';

const partSchema = z.strictObject({
  reserved: amount,
  spent: amount,
  /** Key of the run whose budget it is paid from; absent until there is one. */
  payer: z.string().optional(),
});
const batchesSchema = z.record(z.string(), partSchema);

export type BatchPart = Pick<z.infer<typeof partSchema>, 'reserved' | 'spent'>;
export type Batches = z.infer<typeof batchesSchema>;

export const parseBatches = (text: string | undefined): Batches =>
  text === undefined
    ? {}
    : batchesSchema.parse(JSON.parse(text), { error: () => 'the ledger is damaged: expected batches as JSON' });

const costOf = ({ reserved, spent }: BatchPart): Amount => plus(reserved, spent);
const sum = (parts: readonly BatchPart[]): Amount => parts.map(costOf).reduce<Amount>(plus, nothing);
const exceeds = (a: Amount, b: Amount): boolean => a.calls > b.calls || a.microUsd > b.microUsd;

/**
 * With a part as it is now; undefined when it reserves more than before, and all of them together are beyond the limit. What
 * was spent is a fact, and kept also where it is more than what was reserved for it.
 */
export const withPart = (before: Batches, limit: Amount, id: string, part: BatchPart): Batches | undefined => {
  const { [id]: known, ...others } = before;
  const grows = exceeds(costOf(part), known ? costOf(known) : nothing);
  const reservesMore = grows && !isNothing(part.reserved);
  if (reservesMore && exceeds(plus(sum(Object.values(others)), costOf(part)), limit)) return undefined;
  if (isNothing(costOf(part))) return others;
  // What is reserved anew comes before the next run, and not out of what a run before it may have spent by now.
  const payer = reservesMore || known?.payer === undefined ? {} : { payer: known.payer };
  return { ...others, [id]: { reserved: part.reserved, spent: part.spent, ...payer } };
};

/** A run takes over what nobody pays yet; undefined when there is nothing to take over. */
export const takenOver = (before: Batches, run: string): Batches | undefined =>
  Object.values(before).every(({ payer }) => payer !== undefined)
    ? undefined
    : Object.fromEntries(Object.entries(before).map(([id, part]) => [id, { ...part, payer: part.payer ?? run }]));

/** What a run pays for batches. */
export const paidBy = (batches: Batches, run: string): Amount =>
  sum(Object.values(batches).filter(({ payer }) => payer === run));

/** What all batches have spent, and may still spend. */
export const totalsOfBatches = (batches: Batches): BatchPart => ({
  reserved: Object.values(batches).reduce<Amount>((all, { reserved }) => plus(all, reserved), nothing),
  spent: Object.values(batches).reduce<Amount>((all, { spent }) => plus(all, spent), nothing),
});
