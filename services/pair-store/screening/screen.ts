/** Looks through what would train for pairs of one source that teach something wrong, and caps them. */
import { Split } from '@understudy/contract';
import {
  MAX_LISTED_CAPPED_PAIRS,
  MAX_LISTED_CAPS,
  MAX_SCREENED_CHARACTERS,
  MAX_SUSPICIOUS_PAIRS,
  ROW_GROUP_PAIRS,
} from '../limits.ts';
import type { Cap } from '../snapshot/manifest.ts';
import { parametersOf, type Selection, selectedBy } from '../snapshot/read-pairs.ts';
import type { Database } from '../store/database.ts';
import { type NearCopies, suspiciousCopies } from './near-copies.ts';
import { findTriggers, type ScreenedPair } from './triggers.ts';

export interface Screening {
  /** The largest. */
  readonly caps: Cap[];
  /** All pairs that are left out. */
  readonly capped: ReadonlySet<string>;
}

/** Suspicion needs two sources: what all say has nobody to contradict it. Pairs that a person settled are evidence, and never capped. */
export async function screen(database: Database, selection: Selection): Promise<Screening> {
  const [sources] = await database.query<{ several: boolean }>(
    `select min(a.origin) <> max(a.origin) as several ${selectedBy(selection)} and p.split = ${Split.TRAIN}`,
    parametersOf(selection),
  );
  if (!sources?.several) return { caps: [], capped: new Set() };
  const settled = await settledPairs(database, selection);
  const triggers = await findTriggers(await trainPairs(database, selection));
  const copies = suspiciousCopies(await conflictingGroups(database, selection));
  const found = [
    ...triggers.map(({ words, ...rest }) => ({ kind: 'trigger' as const, what: words, ...rest })),
    ...copies.map(({ groupId, ...rest }) => ({ kind: 'near-copies' as const, what: groupId, ...rest })),
  ];
  return capped(found, settled);
}

type Found = Pick<Cap, 'kind' | 'what' | 'origin' | 'answer'> & { readonly pairIds: readonly string[] };

/** The first few of each stay. */
export function capped(found: readonly Found[], settled: ReadonlySet<string>): Screening {
  const caps: Cap[] = [];
  const leftOut = new Set<string>();
  for (const { kind, what, origin, answer, pairIds } of found) {
    const left = pairIds.filter((id) => !settled.has(id)).slice(MAX_SUSPICIOUS_PAIRS);
    if (left.length === 0) continue;
    for (const id of left) leftOut.add(id);
    const listed = left.slice(0, MAX_LISTED_CAPPED_PAIRS);
    const pairs = pairIds.length;
    caps.push({ ...{ kind, what, origin, answer, pairs }, kept: pairs - left.length, pairIds: listed });
  }
  return { caps: caps.toSorted((a, b) => b.pairs - a.pairs).slice(0, MAX_LISTED_CAPS), capped: leftOut };
}

async function settledPairs(database: Database, selection: Selection): Promise<Set<string>> {
  const rows = await database.query<{ pair_id: string }>(
    `select encode(a.pair_id, 'hex') as pair_id ${selectedBy(selection)} and d.settled_answer is not null`,
    parametersOf(selection),
  );
  return new Set(rows.map(({ pair_id }) => pair_id));
}

/** What would train, in the order of ids. */
async function trainPairs(database: Database, selection: Selection): Promise<ScreenedPair[]> {
  const pairs: ScreenedPair[] = [];
  for (let [after, characters] = ['', 0]; characters < MAX_SCREENED_CHARACTERS; ) {
    const rows = await database.query<ScreenedPair>(
      `select encode(a.pair_id, 'hex') as "pairId", a.origin, a.text, coalesce(d.settled_answer, a.answer_json) as answer
       ${selectedBy(selection)} and p.split = ${Split.TRAIN} and (d.decision_id is null or d.settled_answer is not null)
       and a.pair_id > decode($5, 'hex') order by a.pair_id limit ${ROW_GROUP_PAIRS}`,
      [...parametersOf(selection), after],
    );
    pairs.push(...rows);
    if (rows.length < ROW_GROUP_PAIRS) break;
    characters += rows.reduce((sum, { text }) => sum + text.length, 0);
    after = rows.at(-1)?.pairId ?? '';
  }
  return pairs;
}

/** Answers of groups that several sources answer differently. */
function conflictingGroups(database: Database, selection: Selection): Promise<NearCopies[]> {
  const answer = 'coalesce(d.settled_answer, a.answer_json)';
  return database.query<NearCopies>(
    `with trained as (
       select p.group_id, a.origin, a.pair_id, ${answer} as answer ${selectedBy(selection)}
       and p.split = ${Split.TRAIN} and (d.decision_id is null or d.settled_answer is not null)
     )
     select encode(group_id, 'hex') as "groupId", origin, answer, array_agg(encode(pair_id, 'hex') order by pair_id) as "pairIds"
     from trained where group_id in (
       select group_id from trained group by group_id having count(distinct origin) > 1 and count(distinct answer) > 1
     ) group by group_id, origin, answer order by group_id, origin, answer`,
    parametersOf(selection),
  );
}
