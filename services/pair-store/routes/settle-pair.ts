import type { Decision, SettlePairRequest } from '@understudy/contract/pair-store';
import { failedPrecondition, invalidArgument, notFound } from '@understudy/service/rpc/status';
import { compileTask } from '@understudy/task';
import type { PairStoreContext } from '../context.ts';
import { MAX_AUTHOR_CHARACTERS, MAX_REASON_CHARACTERS } from '../limits.ts';
import type { Database } from '../store/database.ts';
import { DecisionConflict, decide } from '../store/decisions.ts';
import { pairOf, STORED_PAIR, type StoredPair } from '../store/stored-pair.ts';

/** Decides about the input of a pair, for every later snapshot. */
export async function settlePair(
  { database, tasks, journal }: PairStoreContext,
  request: SettlePairRequest,
): Promise<{ decision: Decision }> {
  const { task, taskDigest, replaces, verdict } = request;
  const author = namedText('author', request.author, MAX_AUTHOR_CHARACTERS);
  const reason = namedText('reason', request.reason, MAX_REASON_CHARACTERS);
  if (replaces !== '' && !/^[0-9a-f]{64}$/.test(replaces)) throw invalidArgument('replaces: expected 64 hex digits');
  const { pairId, promptId, answerJson, text } = await pairFrom(database, task, request.pairId);
  const settled = async (): Promise<string | null> => {
    if (verdict.case === 'drop') return null;
    if (verdict.case === 'keep') return answerJson;
    if (verdict.case === undefined) throw invalidArgument('verdict: expected an answer, keep or drop');
    const parsed = compileTask((await tasks.get(task, taskDigest)).task).parseAnswer(verdict.value, text);
    if (!parsed.ok) throw invalidArgument(`answer_json: ${parsed.message}`);
    return parsed.answer;
  };
  try {
    const about = { task, promptId, pairId, author, reason, replaces };
    const decision = await decide(database, { ...about, answerJson: await settled() });
    journal.settled(task, decision);
    return { decision };
  } catch (error) {
    if (error instanceof DecisionConflict) throw failedPrecondition(error.message);
    throw error;
  }
}

/** Trimmed, on record for good. */
function namedText(field: string, given: string, maxCharacters: number): string {
  const value = given.trim();
  if (value === '' || value.length > maxCharacters || value.includes('\0')) {
    throw invalidArgument(`${field}: expected 1 to ${maxCharacters} characters, came ${value.length}`);
  }
  return value;
}

/** The pair of this id, or the one whose id begins so. */
async function pairFrom(database: Database, task: string, prefix: string) {
  if (!/^[0-9a-f]{8,64}$/.test(prefix)) {
    throw invalidArgument(`pair_id: expected 8 to 64 hex digits, came ${JSON.stringify(prefix.slice(0, 100))}`);
  }
  const rows = await database.query<StoredPair & { task: string }>(
    `select a.task, ${STORED_PAIR} from pairs a join prompts p using (prompt_id)
     where a.pair_id between decode($1, 'hex') and decode($2, 'hex') order by a.pair_id limit 100`,
    [prefix.padEnd(64, '0'), prefix.padEnd(64, 'f')],
  );
  const [found, other] = rows.filter((row) => row.task === task).map(pairOf);
  if (!found) throw notFound(`task ${task} has no pair ${prefix}`);
  if (other) throw invalidArgument(`pair_id: several pairs of ${task} begin with ${prefix}; give more digits`);
  return found;
}
