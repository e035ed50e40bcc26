/** Has every service erase what it keeps of inputs, and keeps a journal of it in pair-store. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Erasure, ForgetResponse } from '@understudy/contract/pair-store';
import { RunStage } from '@understudy/contract/prompt';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { BusConnection } from '@understudy/service/bus/connection';
import { messageOf, RetryableError } from '@understudy/service/errors';
import { type CompiledTask, forgetPolicyOf, parseTask, promptIdBytes, promptIdsOf } from '@understudy/task';
import { InputMatcher } from '@understudy/task/versions';
import type { Connection } from '../connect.ts';
import { eraseBooks } from './erase-books.ts';
import { purgeBus } from './purge-bus.ts';
import { type Students, studentsOf } from './students.ts';

export interface Forgetting {
  connection: Connection;
  bus: BusConnection;
  blobs: BlobStore;
  /** Of batches that this machine has submitted. */
  batchesFolder: string;
  versions: readonly CompiledTask[];
  task: string;
  /** Ids that are meant, or a source. */
  ids: readonly string[];
  source: string;
  author: string;
  reason: string;
  /** Of one that was begun, whose inputs pair-store knows; absent for a new one. */
  erasureId?: string | undefined;
}

export interface Receipt {
  erasure: Erasure;
  students: Students;
  /** By the task's policy. */
  quarantined: boolean;
  /** What stays, and why. */
  remains: string[];
  /** Steps that could not be done, with why: the same command goes on with them. */
  missing: Record<string, string>;
}

/** A service that is busy or begins anew is waited for so long. */
const PATIENCE_MS = 15_000;
const RETRY_MS = 1_000;
/** Going through a million messages or rewriting a table of a million rows takes minutes. */
const LONG_MS = 600_000;
/** A service that has little to do and says nothing for so long hangs; one that is away is known at once. */
const SHORT_MS = 60_000;

/** Ids of a source in one request: half of what pair-store takes. */
const IDS_AT_ONCE = 50_000;

/** What a step erased, by kind; what it said of students; what stays. */
interface Outcome {
  erased?: Readonly<Record<string, bigint | number>>;
  students?: Readonly<Record<string, string>>;
  remains?: readonly string[];
}

/**
 * Forgets. pair-store comes first: from then on nothing of the inputs is kept any more, wherever it comes from. A step that fails leaves the
 * others to be done; the erasure is done once none failed.
 * @throws RetryableError, RpcError while pair-store cannot be reached: nothing is written down then
 */
export const forget = async (around: Forgetting): Promise<Receipt> => {
  const { connection, task, source, author, reason, erasureId: begun = '' } = around;
  const timed = { timeoutMs: LONG_MS };
  const ask = (ids: readonly string[]) =>
    patiently(() =>
      connection.forgetting.forget(
        { task, promptIds: promptIdBytes(ids), source, author, reason, erasureId: begun },
        timed,
      ),
    );
  let forgotten: ForgetResponse = await ask(around.ids);
  const erasureId = forgotten.erasure?.erasureId ?? '';
  const missing: Record<string, string> = {};
  const remains: string[] = [];
  const step = async (name: string, work: () => Promise<Outcome>): Promise<void> => {
    try {
      const { erased = {}, students = {}, remains: left = [] } = await patiently(work);
      remains.push(...left);
      const counts = Object.fromEntries(Object.entries(erased).map(([kind, count]) => [kind, BigInt(count)]));
      const noted = { step: name, erased: counts, students: { ...students } };
      await connection.forgetting.noteErasure({ erasureId, step: noted }, { timeoutMs: SHORT_MS });
    } catch (error) {
      if (error instanceof TypeError) throw error;
      missing[name] = messageOf(error);
    }
  };
  const request = () => ({ task, promptIds: forgotten.promptIds, source });

  await step('prompt', async () => {
    const erased = await connection.eraser('prompt').erase(request(), timed);
    // Inputs of the source that no teacher has answered are known to their samples alone.
    const known = new Set(promptIdsOf(forgotten.promptIds));
    const news = promptIdsOf(erased.promptIds).filter((id) => !known.has(id));
    // An erasure of a source is one, however many ids come with it.
    for (let from = 0; from < news.length; from += IDS_AT_ONCE) {
      forgotten = await ask([...around.ids, ...news.slice(from, from + IDS_AT_ONCE)]);
    }
    return erased;
  });
  for (const name of ['teacher-gateway', 'student-gateway', 'trainer'] as const) {
    await step(name, () => connection.eraser(name).erase(request(), { timeoutMs: SHORT_MS }));
  }
  await step('bus', () => {
    const matcher = new InputMatcher(around.versions, new Set(promptIdsOf(forgotten.promptIds)));
    return purgeBus(around.bus, task, matcher, source);
  });
  await step('batches', async () => {
    const { prompts, remains: files } = await eraseBooks(around.batchesFolder, task, promptIdsOf(forgotten.promptIds));
    return { erased: { prompts }, remains: files };
  });
  // Before students are listed: a run that ends in between would leave one that nobody saw.
  await step('runs under way', () => refuseRuns(connection, task, forgotten));
  let students: Students = { learnt: [], judged: [], unreadable: [] };
  let quarantined = false;
  await step('students', async () => {
    students = await studentsOf(around.blobs, forgotten.snapshots);
    quarantined = await isQuarantine(connection, task);
    const { learnt, judged, unreadable } = students;
    const inputs = forgotten.erasure?.inputs ?? 0;
    await connection.quarantine.quarantine({
      task,
      erasureId,
      author,
      reason,
      inputs,
      studentDigests: [...learnt],
      quarantined,
    });
    const told = [
      ...learnt.map((digest) => [digest, quarantined ? 'learnt from it: quarantined' : 'learnt from it: kept']),
      ...judged.map((digest) => [digest, 'judged with it: kept']),
    ];
    const lost = unreadable.map(
      (digest) => `student ${digest.slice(0, 12)} cannot be read: nobody knows what it learnt from`,
    );
    return { students: Object.fromEntries(told), remains: lost };
  });
  if (students.learnt.length > 0)
    remains.push('what students learnt is in their weights and vocabularies, and cannot be taken out');
  const done = Object.keys(missing).length === 0;
  const { erasure } = await connection.forgetting.noteErasure({ erasureId, done }, { timeoutMs: SHORT_MS });
  if (!erasure) throw new Error('pair-store gave no erasure');
  if (done && !foundAny(erasure, students)) remains.push(NOTHING_FOUND);
  return { erasure, students, quarantined, remains: [...new Set(remains)], missing };
};

/** A name that was mistyped, or an input that is not what came, must not pass for an erased one. */
const NOTHING_FOUND =
  'nothing of it was found anywhere: give the input with all its fields, or the source by its name in the task file';

/** Now, or by an earlier attempt. What a trainer keeps is dropped whatever it holds, so it tells nothing. */
const foundAny = ({ steps }: Erasure, { learnt, judged }: Students): boolean =>
  learnt.length + judged.length > 0 ||
  steps.some(({ step, erased }) => step !== 'trainer' && Object.values(erased).some((count) => count > 0n));

/** By the newest version of the task. */
const isQuarantine = async ({ prompt }: Connection, task: string): Promise<boolean> =>
  forgetPolicyOf(parseTask((await prompt.getTask({ task })).taskJson)).students === 'quarantine';

/** A student that is being trained on such a snapshot is not among those that are known. */
const refuseRuns = async ({ prompt }: Connection, task: string, { snapshots }: ForgetResponse): Promise<Outcome> => {
  const touched = new Set(snapshots.map(({ snapshotDigest }) => snapshotDigest));
  const { runs } = await prompt.listRuns({ task });
  const open = runs.find(({ stage, snapshot }) => stage !== RunStage.FINISHED && touched.has(snapshot?.digest ?? ''));
  if (!open) return {};
  throw new Error(`run ${open.runId} trains on a snapshot that held it: cancel it, or let it end, and forget again`);
};

const patiently = async <T>(work: () => Promise<T>): Promise<T> => {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof RetryableError) || Date.now() >= until) throw error;
      await sleep(RETRY_MS);
    }
  }
};
