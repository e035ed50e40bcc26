/** What a search tries, with what part of the machine each candidate gets. */
import { type Candidate, estimate, FAMILIES, type Family, STUDENT_VERSION } from '@understudy/student';
import { type CompiledTask, type Head, outputPlan } from '@understudy/task';
import { sha256Hex } from '@understudy/task/canonical';
import { MIN_THREADS, PROCESS_MEMORY_BYTES } from '../limits.ts';
import type { Order } from '../order.ts';
import type { Limits, Rung } from './decide.ts';
import type { PinnedEncoder } from './encoder.ts';
import { barOf } from './measure.ts';

/** Raised whenever the same candidates and measures would lead to another choice than before. */
export const SEARCH_VERSION = 1;

/** What the trainer may use. */
export interface Machine {
  readonly threads: number;
  readonly memoryBytes: number;
  /** Several processes cannot count on sharing an accelerator's memory. */
  readonly sharesDevice: boolean;
}

type Unfit = Extract<Rung, { reason: string }>;

/** One rung of the ladder. */
export interface PlannedCandidate {
  readonly name: string;
  readonly candidate: Candidate;
  /** Identifies what becomes of it: of the same task and snapshot, made by the same code, whatever run asks for it. */
  readonly key: string;
  readonly threads: number;
  /** Why it cannot be tried. */
  readonly unfit: Unfit | undefined;
}

export interface Plan {
  readonly key: string;
  readonly ladder: readonly PlannedCandidate[];
  readonly limits: Limits;
  /** Of the whole search. */
  readonly limitMs: number;
}

/**
 * The plan of an order. The threads of a candidate follow from the machine and the ladder alone, never from what else
 * happens to run: they are part of what decides a student's last bits.
 * @param encoder what `training.encoder` names, where the task has one
 */
export function planOf(
  order: Order,
  { task }: CompiledTask,
  machine: Machine,
  encoder: PinnedEncoder | undefined,
): Plan {
  const { goal, training } = task;
  const { heads } = outputPlan(task.output.schema);
  const candidates = candidatesOf(training, encoder);
  const threads = Math.min(machine.threads, training.threads ?? machine.threads);
  const slots = slotsOf(threads, candidates.length - 1, machine);
  const ladder = candidates.map((candidate, rung): PlannedCandidate => {
    const megabytes = megabytesOf(candidate, heads, encoder);
    return {
      name: nameOf(candidate, training),
      candidate,
      key: keyOf(order, candidate, encoder),
      threads: rung === 0 ? threads : Math.floor(threads / slots),
      unfit: unusable(candidate, encoder) ?? (rung > 0 ? tooLarge(megabytes, goal.sizeBytes) : undefined),
    };
  });
  const { provable } = barOf(goal, Math.max(1, order.snapshot.devPairs), order.snapshot.testPairs);
  return {
    key: sha256Hex(['search', SEARCH_VERSION, ...ladder.map(({ key }) => key)].join('\n')),
    ladder,
    limits: { sizeBytes: goal.sizeBytes, latencyMs: goal.latencyMs, provable, slots },
    limitMs: training.maxMinutes * 60_000,
  };
}

function candidatesOf({ families, encoder }: CompiledTask['task']['training'], pinned?: PinnedEncoder): Candidate[] {
  const isWanted = (family: Family) => families?.includes(family) ?? (family !== 'encoder' || encoder !== undefined);
  return FAMILIES.filter(isWanted).map((family) => {
    if (family !== 'encoder' || encoder === undefined) return { family };
    const folder = pinned && 'folder' in pinned ? pinned.folder : '';
    return { family, encoder: { folder, train: encoder.train } };
  });
}

/** Candidates above the first that train at once: as many as have threads and memory enough. */
function slotsOf(threads: number, candidates: number, { memoryBytes, sharesDevice }: Machine): number {
  if (!sharesDevice) return 1;
  const room = Math.min(Math.floor(threads / MIN_THREADS), Math.floor(memoryBytes / PROCESS_MEMORY_BYTES), candidates);
  return Math.max(1, room);
}

function nameOf({ family }: Candidate, { encoder }: CompiledTask['task']['training']): string {
  if (family !== 'encoder' || encoder === undefined) return family;
  const model = encoder.hub?.split('@')[0] ?? encoder.folder;
  return `${family} ${model?.split('/').at(-1)} (${encoder.train})`;
}

/** The cheapest one is tried in any case: without a student there would be nothing to tell of. */
function tooLarge(megabytes: number, limitBytes: number): Unfit | undefined {
  if (megabytes * 1e6 <= limitBytes) return undefined;
  const reason = `about ${megabytes.toFixed(1)} MB, and goal.sizeBytes allows ${limitBytes / 1e6} MB`;
  return { status: 'skipped', reason };
}

/**
 * Of the bundle with int8 weights; a published encoder has float32 weights, which are four times as large. That of one
 * that cannot be used is not known.
 */
function megabytesOf(candidate: Candidate, heads: readonly Head[], encoder: PinnedEncoder | undefined): number {
  if (candidate.family !== 'encoder') return estimate(candidate, heads).megabytes;
  return encoder && 'digest' in encoder ? encoder.modelBytes / 4e6 : 0;
}

function unusable({ family }: Candidate, encoder: PinnedEncoder | undefined): Unfit | undefined {
  if (family !== 'encoder' || encoder === undefined || 'digest' in encoder) return undefined;
  return { status: 'failed', reason: encoder.unusable, transient: false };
}

/** An encoder counts by its content, wherever it lies. */
function keyOf({ taskDigest, snapshot }: Order, candidate: Candidate, pinned: PinnedEncoder | undefined): string {
  const { family, hyperparameters = {}, encoder } = candidate;
  const content = encoder && pinned ? [encoder.train, 'digest' in pinned ? pinned.digest : pinned.unusable] : [];
  const what = JSON.stringify([family, hyperparameters, ...content]);
  return sha256Hex(['candidate', STUDENT_VERSION, taskDigest, snapshot.digest, what].join('\n'));
}
