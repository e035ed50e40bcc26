/** Reads what goes into a snapshot from the database, in chunks, as it was at one moment. */
import { Purpose, Split } from '@understudy/contract';
import { ROW_GROUP_PAIRS } from '../limits.ts';
import type { Database, Sql } from '../store/database.ts';
import { holding } from '../store/decisions.ts';
import { lockTask } from '../store/record.ts';
import { STORED_PAIR } from '../store/stored-pair.ts';
import type { SnapshotRow } from './columns.ts';

/** The pairs of one fingerprint, and all imported ones, that were stored up to a moment: pairs are never changed, so this never changes either. */
export interface Selection {
  readonly task: string;
  /** Empty: no pairs. */
  readonly fingerprint: string;
  readonly lastSeq: number;
  /** Decisions that were made later change nothing. */
  readonly lastDecision: number;
  /** Whether the task has imported pairs: looking for them costs the index that orders a snapshot. */
  readonly withImported: boolean;
}

/** One answer a prompt: further samples and repeated questions measure the teacher, they do not teach. */
const TEACHING = [Purpose.LABEL, Purpose.SAMPLE, Purpose.AUDIT, Purpose.SERVE, Purpose.IMPORTED];
const SPLIT_NAMES = { [Split.TRAIN]: 'train', [Split.DEV]: 'dev', [Split.TEST]: 'test' } as const;

const teaches = (pair: string): string =>
  `${pair}.task = $1 and ${pair}.seq <= $3 and ${pair}.sample_number = 0 and ${pair}.purpose in (${TEACHING.join(', ')})`;

const DECIDED = `from pairs a join prompts p using (prompt_id) left join ${holding('$1', '$4')} d using (prompt_id)`;

const OF_FINGERPRINT = `${DECIDED}
where ${teaches('a')} and a.fingerprint = decode($2, 'hex')`;
/** Imported pairs belong to every snapshot, whoever answered them; a prompt's own answer of the fingerprint goes first. */
const WITH_IMPORTED = `${DECIDED}
where ${teaches('a')} and (a.fingerprint = decode($2, 'hex') or (a.purpose = ${Purpose.IMPORTED} and not exists (
  select from pairs b where b.prompt_id = a.prompt_id and ${teaches('b')}
    and (b.fingerprint = decode($2, 'hex') or (b.purpose = ${Purpose.IMPORTED} and b.pair_id < a.pair_id)))))`;

/** From `pairs a`, `prompts p` and the decisions `d` about them; its parameters are $1 to $4. */
export const selectedBy = ({ withImported }: Selection): string => (withImported ? WITH_IMPORTED : OF_FINGERPRINT);

export const parametersOf = ({ task, fingerprint, lastSeq, lastDecision }: Selection) => [
  ...[task, fingerprint, lastSeq],
  lastDecision,
];

/** Nobody decided about a held-out input, or dropped one that trains. */
const UNDROPPED = `(d.decision_id is null or (p.split = ${Split.TRAIN} and d.settled_answer is not null))`;

/** Selects the fingerprint that answered most of the run, and all pairs stored until now. */
export async function select(database: Database, task: string, runId: string): Promise<Selection> {
  const [most] = await database.query<{ fingerprint: string }>(
    `select encode(a.fingerprint, 'hex') as fingerprint from outcomes o join pairs a using (pair_id)
     where o.run_id = $1 group by a.fingerprint order by count(*) desc, a.fingerprint limit 1`,
    [runId],
  );
  return database.transaction(async (sql) => {
    // Whoever drew a number before us has committed: numbers are drawn under the task's lock.
    await lockTask(sql, task);
    const [imported] = await sql.query<{ some: boolean }>(
      `select exists (select from pairs where task = $1 and purpose = ${Purpose.IMPORTED}) as some`,
      [task],
    );
    const [lastSeq, lastDecision] = [await lastOf(sql, 'pairs'), await lastOf(sql, 'decisions')];
    return { task, fingerprint: most?.fingerprint ?? '', lastSeq, lastDecision, withImported: imported?.some ?? false };
  });
}

async function lastOf(sql: Sql, table: 'pairs' | 'decisions'): Promise<number> {
  const [row] = await sql.query<{ seq: number | null }>(
    `select pg_sequence_last_value(pg_get_serial_sequence('${table}', 'seq')::regclass) as seq`,
  );
  return row?.seq ?? 0;
}

/** How many pairs of each split a snapshot of this teacher would have now; test counts groups, as a snapshot does. */
export async function countNow(
  database: Database,
  { task, fingerprint }: Pick<Selection, 'task' | 'fingerprint'>,
): Promise<{ train: number; dev: number; test: number }> {
  const all = Number.MAX_SAFE_INTEGER;
  const now = { task, fingerprint, lastSeq: all, lastDecision: all, withImported: true };
  const inSplit = (split: Split) => `filter (where p.split = ${split})::int`;
  const [row] = await database.query<{ train: number; dev: number; test: number }>(
    `select count(*) ${inSplit(Split.TRAIN)} as train, count(*) ${inSplit(Split.DEV)} as dev,
       count(distinct p.group_id) ${inSplit(Split.TEST)} as test ${selectedBy(now)} and ${UNDROPPED}`,
    parametersOf(now),
  );
  return row ?? { train: 0, dev: 0, test: 0 };
}

export async function countQuarantined(database: Database, selection: Selection): Promise<number> {
  const [row] = await database.query<{ pairs: number }>(
    `select count(*)::int as pairs ${selectedBy(selection)} and p.split = ${Split.QUARANTINED}`,
    parametersOf(selection),
  );
  return row?.pairs ?? 0;
}

/** Pairs that are left out by decision. */
export async function countDecided(
  database: Database,
  selection: Selection,
): Promise<{ dropped: number; retired: number }> {
  const [row] = await database.query<{ dropped: number; retired: number }>(
    `select count(*) filter (where p.split = ${Split.TRAIN} and d.settled_answer is null)::int as dropped,
       count(*) filter (where p.split in (${Split.DEV}, ${Split.TEST}))::int as retired
     ${selectedBy(selection)} and d.decision_id is not null`,
    parametersOf(selection),
  );
  return row ?? { dropped: 0, retired: 0 };
}

export interface TestGroup {
  /** The pair that stands for the group: the one with the smallest id. */
  readonly pair_id: string;
  readonly weight: number;
  readonly pairs: number;
}

/** Test groups by the pair that stands for them. */
export async function testGroups(database: Database, selection: Selection): Promise<Map<string, TestGroup>> {
  const groups = await database.query<TestGroup>(
    `select min(encode(a.pair_id, 'hex')) as pair_id, sum(p.weight) as weight, count(*)::int as pairs
     ${selectedBy(selection)} and p.split = ${Split.TEST} and ${UNDROPPED} group by p.group_id`,
    parametersOf(selection),
  );
  return new Map(groups.map((group) => [group.pair_id, group]));
}

type StoredRow = Omit<SnapshotRow, 'split' | 'settled'> & {
  readonly split: keyof typeof SPLIT_NAMES;
  readonly decision_id: string | null;
  readonly settled_answer: string | null;
};

/** What rows are read for. */
export interface Wanted {
  readonly groups: ReadonlyMap<string, TestGroup>;
  /** Pairs that are left out. */
  readonly capped: ReadonlySet<string>;
  /** False for a settled answer to a text that the task's output does not allow any more. */
  readonly fits: (answerJson: string, text: string) => boolean;
}

/** The snapshot's rows, ordered by pair_id, in chunks of a row group. */
export async function* snapshotRows(
  database: Database,
  selection: Selection,
  { groups, capped, fits }: Wanted,
): AsyncGenerator<SnapshotRow[]> {
  for (let after = ''; ; ) {
    const stored = await database.query<StoredRow>(
      `select ${STORED_PAIR}, encode(p.group_id, 'hex') as group_id, p.split,
         encode(d.decision_id, 'hex') as decision_id, d.settled_answer,
         encode(p.salt, 'hex') as salt, null as erased_digest
       ${selectedBy(selection)} and a.pair_id > decode($5, 'hex') and p.split <> ${Split.QUARANTINED} and ${UNDROPPED}
       order by a.pair_id limit ${ROW_GROUP_PAIRS}`,
      [...parametersOf(selection), after],
    );
    const rows = stored
      .filter(({ split, pair_id }) => (split !== Split.TEST || groups.has(pair_id)) && !capped.has(pair_id))
      .map(({ decision_id, settled_answer, ...row }) => ({
        ...row,
        ...settledBy(decision_id, settled_answer, (answer) => fits(answer, row.text)),
        split: SPLIT_NAMES[row.split],
        weight: groups.get(row.pair_id)?.weight ?? row.weight,
      }));
    if (rows.length > 0) yield rows;
    if (stored.length < ROW_GROUP_PAIRS) return;
    after = stored.at(-1)?.pair_id ?? '';
  }
}

/** A person's answer is certain: the teacher's probabilities are no longer of it. */
function settledBy(
  decisionId: string | null,
  answer: string | null,
  fits: (answer: string) => boolean,
): Pick<SnapshotRow, 'settled'> & Partial<Pick<SnapshotRow, 'answer_json' | 'soft'>> {
  if (decisionId === null || answer === null || !fits(answer)) return { settled: '' };
  return { settled: decisionId, answer_json: answer, soft: '{}' };
}
