/** Why pairs are suspected, by pair, the most telling first. */
import { Purpose, Split } from '@understudy/contract';
import { Suspicion } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { invalidArgument } from '@understudy/service/rpc/status';
import { parseFolds } from '@understudy/student/folds';
import { MAX_LISTED_SUSPECTS } from '../limits.ts';
import type { Cap, Manifest } from '../snapshot/manifest.ts';
import type { Sql } from '../store/database.ts';
import { holding } from '../store/decisions.ts';

export interface Reason {
  readonly suspicion: Suspicion;
  readonly why: string;
  readonly groupId?: string;
  readonly studentAnswerJson?: string;
  readonly confidence?: number;
}
export type Suspected = readonly [pairId: string, reason: Reason];

/** What the snapshot left out. */
export const cappedOf = ({ caps }: Manifest): Suspected[] =>
  caps.flatMap((cap) =>
    cap.pairIds.map((pairId): Suspected => [pairId, { suspicion: Suspicion.CAPPED, why: wordsOf(cap) }]),
  );

const wordsOf = ({ kind, what, origin, answer, pairs, kept }: Cap): string =>
  kind === 'trigger'
    ? `${pairs} pairs of ${origin || 'an unnamed source'} have ${JSON.stringify(what)} and the answer ${answer}, which all else in them contradicts; ${kept} train`
    : `${origin || 'an unnamed source'} answers ${pairs} near-copies ${answer}, other sources do not; ${kept} train`;

/** As people have settled it. */
const ANSWER = 'coalesce(d.settled_answer, a.answer_json)';
/** Above every number. */
const NEWEST = '9223372036854775807';

interface ConflictRow {
  readonly pair_id: string;
  readonly group_id: string;
  readonly answers: string[];
}

/** Train pairs whose near-duplicates have other answers, of the groups with the most pairs. Those with their group's most frequent answer come last. */
export async function conflictsIn(sql: Sql, task: string, fingerprint: string): Promise<Suspected[]> {
  const rows = await sql.query<ConflictRow>(
    `with trained as (
       select p.group_id, a.pair_id, ${ANSWER} as answer, count(*) over (partition by p.group_id, ${ANSWER}) as alike
       from pairs a join prompts p using (prompt_id) left join ${holding('$1', NEWEST)} d using (prompt_id)
       where a.task = $1 and a.sample_number = 0 and p.split = ${Split.TRAIN}
         and (a.fingerprint = decode($2, 'hex') or a.purpose = ${Purpose.IMPORTED})
         and (d.decision_id is null or d.settled_answer is not null)
     ), conflicting as (
       select group_id, array_agg(distinct answer) as answers, count(*) as pairs from trained
       group by group_id having count(distinct answer) > 1 order by count(*) desc, group_id limit ${MAX_LISTED_SUSPECTS}
     )
     select encode(t.pair_id, 'hex') as pair_id, encode(t.group_id, 'hex') as group_id, c.answers
     from trained t join conflicting c using (group_id) order by t.alike, c.pairs desc, t.pair_id limit ${MAX_LISTED_SUSPECTS}`,
    [task, fingerprint],
  );
  return rows.map(({ pair_id, group_id, answers }): Suspected => {
    const why = `near-duplicates have the answers ${answers.slice(0, 5).join(', ')}`;
    return [pair_id, { suspicion: Suspicion.CONFLICT, why, groupId: group_id }];
  });
}

/** What a training across folds found: pairs that a student which did not learn from them is sure to answer otherwise. None once it is erased. */
export async function foldsOf(blobs: BlobStore, digest: string): Promise<Suspected[]> {
  if (!(await blobs.has('folds', digest))) return [];
  const text = new TextDecoder().decode(await blobs.get('folds', digest));
  try {
    return parseFolds(text).suspects.map(({ pairId, answer, confidence }): Suspected => {
      const why = 'a student that did not learn from it is sure of another answer';
      return [pairId, { suspicion: Suspicion.FOLDS, why, studentAnswerJson: answer, confidence }];
    });
  } catch (cause) {
    throw invalidArgument(`folds_digest: ${digest} is not what a training across folds found`, cause);
  }
}
