import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import {
  type Erasure,
  ErasureStepSchema,
  type ForgetRequest,
  type ForgetResponse,
  type ListErasuresRequest,
  type ListForgottenRequest,
  type ListForgottenResponse,
  type NoteErasureRequest,
  TouchedSnapshotSchema,
} from '@understudy/contract/pair-store';
import { RetryableError } from '@understudy/service/errors';
import { invalidArgument, notFound } from '@understudy/service/rpc/status';
import { promptIdBytes, promptIdsOf } from '@understudy/task';
import { versionsOf } from '@understudy/task/versions';
import type { PairStoreContext } from '../context.ts';
import { type ErasureRequest, eraseRows, eraseWorkloadPairs, OWN_STEP } from '../erasure/erase-rows.ts';
import { eraseFolds, eraseSnapshots } from '../erasure/erase-snapshots.ts';
import { forgottenOf } from '../erasure/forgotten.ts';
import { begunErasure, erasure, erasures, finishErasure, noteStep } from '../erasure/journal.ts';
import {
  MAX_AUTHOR_CHARACTERS,
  MAX_FORGOTTEN_IDS,
  MAX_FORGOTTEN_PER_MESSAGE,
  MAX_REASON_CHARACTERS,
  MAX_SEAL_WAIT_MS,
  SEAL_WAIT_STEP_MS,
} from '../limits.ts';
import { SEALER } from '../snapshot/seal.ts';
import type { Database } from '../store/database.ts';

type Init<T extends { $typeName: string }> = Omit<T, '$typeName' | '$unknown'>;

const ID_BYTES = 32;
const TABLES_WITH_INPUTS = ['prompts', 'pairs', 'decisions', 'outcomes', 'workload_pairs'];
/** Of the counts that are written down when all is done here. */
const SNAPSHOT_ROWS = 'snapshot rows';

/**
 * Erases inputs here: first nothing of them is kept any more, then rows, recorded calls and snapshots go. Whatever dies in between, the same
 * request goes on: each part erases what it finds.
 */
export async function forget(context: PairStoreContext, request: ForgetRequest): Promise<Init<ForgetResponse>> {
  const { database, blobs, groups, idKey } = context;
  const asked = request.erasureId === '' ? named(request) : await resumed(database, request);
  const { erasureId } = asked;
  const rows = await groups.oneAtATime(asked.task, async () => {
    const erased = await eraseRows(database, asked);
    // Its index holds what the texts were like.
    groups.drop(asked.task);
    return erased;
  });
  const versions = await versionsOf(blobs, asked.task, idKey);
  const calls = await eraseWorkloadPairs(database, versions, rows.promptIds);
  const snapshots = await betweenSeals(context, async () => ({
    ...(await eraseSnapshots(blobs, asked.task, rows.promptIds)),
    // Nobody seals, so whoever wrote them is dead.
    partials: await blobs.removePartials('snapshots'),
  }));
  if (rows.batchDue) context.wakeSealer();
  const folds = await eraseFolds(blobs, snapshots.pairIds);
  const before = await erasure(database, erasureId);
  const deleted = calls + Object.values(rows.erased).reduce((sum, count) => sum + count, 0);
  // It takes the longest. An attempt that got to its end has done it for all that it deleted.
  if (deleted > 0 || !hasEnded(before)) await database.compact(TABLES_WITH_INPUTS);
  const erased = {
    calls,
    [SNAPSHOT_ROWS]: snapshots.rows,
    strays: snapshots.strays,
    'files half-written': snapshots.partials,
    folds,
  };
  const counts = Object.fromEntries(Object.entries(erased).map(([kind, count]) => [kind, BigInt(count)]));
  const step = create(ErasureStepSchema, { step: OWN_STEP, erased: counts });
  await database.transaction((sql) => noteStep(sql, erasureId, step));
  context.journal.erased(asked.task, erasureId, { ...rows.erased, ...erased });
  return {
    erasure: await erasure(database, erasureId),
    promptIds: promptIdBytes(rows.promptIds),
    snapshots: snapshots.touched.map(({ digest, train, dev, test }) =>
      create(TouchedSnapshotSchema, { snapshotDigest: digest, trainRows: train, devRows: dev, testRows: test }),
    ),
  };
}

/** Whether an attempt got to its end here. */
const hasEnded = (before: Erasure | undefined): boolean =>
  before?.steps.some(({ step, erased }) => step === OWN_STEP && SNAPSHOT_ROWS in erased) ?? false;

/** What a seal under way has read already would come back in its snapshot. */
async function betweenSeals<T>({ database }: PairStoreContext, work: () => Promise<T>): Promise<T> {
  for (let waitedMs = 0; waitedMs < MAX_SEAL_WAIT_MS; waitedMs += SEAL_WAIT_STEP_MS) {
    const done = await database.exclusively(SEALER, async () => ({ result: await work() }));
    if (done) return done.result;
    await sleep(SEAL_WAIT_STEP_MS);
  }
  throw new RetryableError('a snapshot is being sealed; forget it again later, and it goes on');
}

export async function noteErasure({ database }: PairStoreContext, { erasureId, step, done }: NoteErasureRequest) {
  if (!(await erasure(database, erasureId))) throw notFound(`there is no erasure ${JSON.stringify(erasureId)}`);
  await database.transaction(async (sql) => {
    if (step) await noteStep(sql, erasureId, step);
    if (done) await finishErasure(sql, erasureId);
  });
  return { erasure: await erasure(database, erasureId) };
}

export async function listErasures({ database }: PairStoreContext, { task, open }: ListErasuresRequest) {
  return { erasures: await erasures(database, task, open) };
}

export async function* listForgotten(
  { database }: PairStoreContext,
  { task }: ListForgottenRequest,
): AsyncGenerator<Pick<ListForgottenResponse, 'promptIds'>> {
  for (let after = ''; ; ) {
    const ids = await forgottenOf(database, task, after, MAX_FORGOTTEN_PER_MESSAGE);
    if (ids.length > 0) yield { promptIds: promptIdBytes(ids) };
    if (ids.length < MAX_FORGOTTEN_PER_MESSAGE) return;
    after = ids.at(-1) ?? '';
  }
}

/** The same inputs make the same erasure, so that a repetition finds its journal. */
function named({ task, promptIds, source, author, reason }: ForgetRequest): ErasureRequest {
  if (!/^[a-z0-9-]{1,64}$/.test(task))
    throw invalidArgument(`task: expected its name, got ${JSON.stringify(task.slice(0, 100))}`);
  const ids = idsOf(promptIds);
  if (ids.length === 0 && source === '') throw invalidArgument('expected prompt_ids or a source, got neither');
  const about = source === '' ? ids.toSorted().join('\n') : `source ${source}`;
  return {
    erasureId: createHash('sha256').update(`erasure\n${task}\n${about}`).digest('hex').slice(0, 16),
    task,
    source,
    promptIds: ids,
    author: said('author', author, MAX_AUTHOR_CHARACTERS),
    reason: said('reason', reason, MAX_REASON_CHARACTERS),
  };
}

/** One that was begun: whoever goes on with it need not know what is meant. */
async function resumed(database: Database, { erasureId, promptIds }: ForgetRequest): Promise<ErasureRequest> {
  const begun = await begunErasure(database, erasureId);
  if (!begun) throw notFound(`there is no erasure ${JSON.stringify(erasureId)}`);
  return { ...begun, promptIds: idsOf(promptIds) };
}

function idsOf(promptIds: Uint8Array): string[] {
  if (promptIds.length % ID_BYTES !== 0)
    throw invalidArgument(`prompt_ids: expected ${ID_BYTES} bytes for each id, came ${promptIds.length}`);
  const ids = promptIdsOf(promptIds);
  if (ids.length > MAX_FORGOTTEN_IDS)
    throw invalidArgument(`prompt_ids: expected at most ${MAX_FORGOTTEN_IDS}, came ${ids.length}`);
  return [...new Set(ids)];
}

function said(field: string, text: string, most: number): string {
  const trimmed = text.trim();
  if (trimmed !== '' && trimmed.length <= most && !trimmed.includes('\0')) return trimmed;
  throw invalidArgument(
    `${field}: expected 1 to ${most} characters, got ${trimmed.length}: it is kept with the erasure`,
  );
}
