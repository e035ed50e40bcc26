/** A run as a pure state machine: facts in, the next run and what to do about it out. No clock, no bus, no store. */
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type PayloadOf, Verdict } from '@understudy/contract';
import {
  RunStage,
  type RunState,
  RunStateSchema,
  SourceReportSchema,
  StageStartSchema,
} from '@understudy/contract/prompt';
import type { Task } from '@understudy/task';
import { expiredReason } from './deadlines.ts';
import { defaultFirst, withinShare, writingOf } from './first-batch.ts';
import {
  MAX_BATCHES,
  MAX_DECLINES_WITHOUT_ANSWER,
  MAX_OPEN_REPORTS,
  MAX_OUTSIDE_BATCHES,
  MIN_FURTHER_BATCH,
} from './limits.ts';
import type { Batch, BusFact, Command, DeadLetterFact, Run, RunFact, RunTerms, SampleChunk } from './run.ts';

/** SHA-256. */
const PROMPT_ID_BYTES = 32;

/** What a decision depends on beside the run and the fact. */
export interface Surroundings {
  nowMs: number;
  /** How long a stage may show no sign of life beyond what the task allows it. */
  graceMs: number;
}

export interface NewRun {
  runId: string;
  task: string;
  taskDigest: string;
  ownPrompts: boolean;
  traceparent: string;
  terms: RunTerms;
}

/** What a task allows one run. */
export function termsOf({ budget, batches, teacher, training }: Task): RunTerms {
  const callsPerPrompt = ('samples' in teacher ? teacher.samples : undefined) ?? 1;
  return {
    budgetCalls: budget.calls,
    budgetUsd: budget.usd,
    firstBatch: batches.first ?? defaultFirst(budget.calls, callsPerPrompt),
    boundedFirst: batches.first === undefined,
    batchGrowth: batches.growth,
    active: batches.selection === 'active',
    callsPerPrompt,
    attemptsMs: teacher.timeoutMs * (teacher.maxRetries + callsPerPrompt),
    trainingMs: training.maxMinutes * 60_000,
  };
}

export function beginRun(given: NewRun, nowMs: number): Run {
  const { runId, task, taskDigest, ownPrompts, traceparent, terms } = given;
  const stage = ownPrompts ? RunStage.LABELLING : RunStage.SAMPLING;
  const at = timestampFromMs(nowMs);
  return {
    state: create(RunStateSchema, {
      runId,
      task,
      taskDigest,
      stage,
      startedAt: at,
      stages: [{ stage, at }],
    }),
    terms,
    ownPrompts,
    traceparent,
    chunks: [],
    batches: [],
    seal: 1,
    lastSignOfLifeMs: nowMs,
    openReports: [],
    announce: [],
  };
}

/** A run that cannot begin: it is over before it starts, with the reason why. */
export function refuseRun(given: Omit<NewRun, 'terms'>, reason: string, nowMs: number): Run {
  const terms = { budgetCalls: 0, budgetUsd: 0, firstBatch: 0, batchGrowth: 0, attemptsMs: 0, trainingMs: 0 };
  return finish(beginRun({ ...given, terms }, nowMs), Verdict.BROKEN, reason, { nowMs, graceMs: 0 });
}

export const isFinished = (run: Run): boolean => run.state.stage === RunStage.FINISHED;

/** The run after a fact; the same object where the fact changes nothing. A finished run stays as it is. */
export function advance(run: Run, fact: RunFact, around: Surroundings): Run {
  if (fact.type === 'announced') {
    return { ...run, announce: run.announce.filter((announcement) => announcement !== fact.announcement) };
  }
  if (isFinished(run)) return run;
  switch (fact.type) {
    case 'sampled':
      return sampled(run, fact, around);
    case 'selected':
      return chosen(run, fact.batch, fact.chunks, around);
    case 'submitted':
      return submitted(run, fact.batch, fact.prompts, around);
    case 'closed':
      return alive({ ...run, batches: withBatch(run, fact.batch, { closed: true }) }, around);
    case 'counted':
      return counted(run, fact.stats, around);
    case 'broken':
      return finish(run, Verdict.BROKEN, fact.reason, around);
    case 'cancelled':
      return finish(run, Verdict.CANCELLED, fact.reason, around);
    case 'resumed':
      // Nobody watched for a while: what happened meanwhile is still on its way, so the silence does not count.
      return alive(run, around);
    case 'tick': {
      const reason = expiredReason(run, around);
      return reason === undefined ? run : finish(run, Verdict.BROKEN, reason, around);
    }
    case 'dead-lettered':
      return deadLettered(run, fact, around);
    default:
      return heard(run, fact, around);
  }
}

/** What the run wants done now, in this order. */
export function commandsOf(run: Run): Command[] {
  if (run.announce.length > 0) return run.announce.map((announcement) => ({ type: 'announce', announcement }));
  if (run.state.stage === RunStage.SAMPLING) return [{ type: 'sample' }];
  if (run.state.stage !== RunStage.LABELLING || run.ownPrompts) return [];
  const batch = run.batches.find(({ closed }) => !closed);
  if (batch === undefined) return [];
  if (batch.chosen === null) return [{ type: 'choose', batch }];
  return [{ type: batch.submitted < batch.to - batch.from ? 'submit' : 'close', batch }];
}

/** Prompts that the next batch would take; 0 when budget or population are spent. `morePairs` is the evaluator's estimate. */
export function nextBatchSize(run: Run, morePairs: number): number {
  const sampleSize = run.chunks.reduce((sum, chunk) => sum + chunk.prompts, 0);
  const taken = run.batches.at(-1)?.to ?? 0;
  if (run.batches.length >= MAX_BATCHES) return 0;
  const pairs = taken === 0 ? (run.pairs ?? 0) : 0;
  const askable = Math.floor(callsLeft(run) / (run.terms.callsPerPrompt ?? 1));
  const left = isSpent(run) ? 0 : Math.max(0, Math.min(sampleSize - taken - pairs, askable));
  if (taken === 0) return pairs + Math.min(left, run.terms.firstBatch);
  const wanted = Math.max(MIN_FURTHER_BATCH, morePairs, Math.ceil(run.terms.batchGrowth * taken));
  return left < MIN_FURTHER_BATCH ? 0 : Math.min(left, wanted);
}

/** Calls that the budget still has, those for writing inputs included in what is gone. */
const callsLeft = ({ terms, state }: Run): number => terms.budgetCalls - state.teacherCalls - writingOf(state).calls;

const isSpent = ({ terms, state }: Run): boolean => {
  const spent = state.spentMicroUsd + writingOf(state).microUsd;
  return spent > 0n && Number(spent) >= terms.budgetUsd * 1e6;
};

function sampled(run: Run, fact: Extract<RunFact, { type: 'sampled' }>, around: Surroundings): Run {
  if (run.state.stage !== RunStage.SAMPLING) return run;
  const { population, duplicates, badRecords, badRecordDetails, pairs } = fact.sample;
  const sources = fact.sample.sources.map((source) => create(SourceReportSchema, source));
  const known = {
    ...run,
    chunks: fact.chunks,
    pairs,
    state: { ...run.state, population, duplicates, badRecords, badRecordDetails, sources },
  };
  if (nextBatchSize(known, 0) === 0) return finish(known, Verdict.BROKEN, nothingToAsk(known), around);
  return openBatch(known, nextBatchSize(known, 0), around);
}

function openBatch(run: Run, prompts: number, around: Surroundings): Run {
  const from = run.batches.at(-1)?.to ?? 0;
  const batch: Batch = { number: run.batches.length + 1, from, to: from + prompts, submitted: 0, closed: false };
  if (run.terms.active && run.batches.length > 0) batch.chosen = null;
  const state = { ...run.state, batches: batch.number };
  return enter({ ...run, state, seal: batch.number, batches: [...run.batches, batch] }, RunStage.LABELLING, around);
}

function chosen(run: Run, number: number, chunks: SampleChunk[], around: Surroundings): Run {
  const batches = run.batches.map((batch) =>
    batch.number === number && batch.chosen === null ? { ...batch, chosen: chunks } : batch,
  );
  return alive({ ...run, batches }, around);
}

/** All of the budget went into writing inputs. */
function nothingToAsk(run: Run): string {
  const { calls, microUsd } = writingOf(run.state);
  return `nothing is left of the budget to ask the teacher: writing inputs took ${calls} calls and ${Number(microUsd) / 1e6} USD; raise budget.calls or budget.usd`;
}

function submitted(run: Run, number: number, prompts: number, around: Surroundings): Run {
  const batches = withBatch(run, number, { submitted: prompts });
  const total = batches.reduce((sum, batch) => sum + batch.submitted, 0);
  return alive({ ...run, batches, state: { ...run.state, submitted: total } }, around);
}

function withBatch(run: Run, number: number, change: { submitted?: number; closed?: boolean }) {
  return run.batches.map((batch) => (batch.number === number ? { ...batch, ...change } : batch));
}

function counted(run: Run, stats: Extract<RunFact, { type: 'counted' }>['stats'], around: Surroundings): Run {
  const { answered, declined, cached, declinesByReason, spentMicroUsd, teacherCalls, teacherMedianLatencyMs } = stats;
  const before = run.state.answered + run.state.declined;
  if (answered + declined === before && spentMicroUsd === run.state.spentMicroUsd) return run;
  const known = {
    ...run,
    state: {
      ...run.state,
      answered,
      declined,
      cached,
      declinesByReason,
      spentMicroUsd,
      teacherCalls,
      teacherMedianLatencyMs,
    },
  };
  if (answered === 0 && declined >= MAX_DECLINES_WITHOUT_ANSWER) {
    return finish(known, Verdict.BROKEN, noAnswerReason(known.state), around);
  }
  return alive(known.terms.boundedFirst ? withinShare(known) : known, around);
}

function heard(run: Run, fact: BusFact, around: Surroundings): Run {
  if (fact.type === 'batch.closed') return closedByOthers(run, fact.payload, around);
  if (fact.type === 'run.cancelled') {
    return finish(run, Verdict.CANCELLED, fact.payload.reason || 'cancelled without a reason', around);
  }
  if (fact.type === 'student.promoted') {
    const state = { ...run.state, generation: fact.payload.generation };
    return finish({ ...run, state }, Verdict.PROMOTED, `generation ${fact.payload.generation} serves`, around);
  }
  if (fact.type === 'student.staged') {
    const { generation, stage, reason } = fact.payload;
    const proven = { ...run, state: { ...run.state, generation } };
    return finish(
      proven,
      Verdict.PROVEN,
      `${stageWords[stage] ?? stage} (generation ${generation}): ${reason}`,
      around,
    );
  }
  if (fact.type === 'training.progressed') {
    if (run.state.stage > RunStage.TRAINING) return run;
    return alive({ ...run, state: { ...run.state, training: fact.payload } }, around);
  }
  return isLate(run, fact.payload.seal) ? run : ofSeal(run, fact, around);
}

const stageWords: Readonly<Record<string, string>> = {
  waiting: 'waits for approval (understudy approve)',
  shadow: 'in shadow beside what serves',
  canary: 'answers a share of the requests',
};

type SealFact = Extract<BusFact, { type: 'pairs.sealed' | 'student.trained' | 'eval.passed' | 'eval.failed' }>;

/** Facts come at least once and not always in order: each moves the run forward to its stage, never back. */
function ofSeal(run: Run, fact: SealFact, around: Surroundings): Run {
  const current = { ...run, seal: Math.max(run.seal, fact.payload.seal) };
  const { stage } = run.state;
  switch (fact.type) {
    case 'pairs.sealed': {
      if (stage >= RunStage.TRAINING) return run;
      const { snapshot, answered, declined } = fact.payload;
      const state = { ...run.state, snapshot };
      if (answered > 0) return enter({ ...current, state }, RunStage.TRAINING, around);
      return finish({ ...current, state }, Verdict.BROKEN, noAnswerReason({ ...state, declined }), around);
    }
    case 'student.trained':
      if (stage >= RunStage.EVALUATING) return run;
      return enter({ ...current, state: { ...run.state, student: fact.payload.student } }, RunStage.EVALUATING, around);
    case 'eval.passed': {
      const evaluation = fact.payload.summary;
      const report = evaluation?.reportDigest ?? '';
      if (run.openReports.includes(report)) return run;
      const openReports = [...run.openReports, report].slice(-MAX_OPEN_REPORTS);
      return enter({ ...current, openReports, state: { ...run.state, evaluation } }, RunStage.PROMOTING, around);
    }
    case 'eval.failed':
      if (stage >= RunStage.PROMOTING) return run;
      return notProven({ ...current, state: { ...run.state, evaluation: fact.payload.summary } }, fact.payload, around);
  }
}

function notProven(
  run: Run,
  { reason, morePairs, notDistillable }: Pick<PayloadOf<'eval.failed'>, 'reason' | 'morePairs' | 'notDistillable'>,
  around: Surroundings,
): Run {
  if (notDistillable) return finish(run, Verdict.NOT_DISTILLABLE, reason, around);
  if (run.ownPrompts || morePairs === 0) return finish(run, Verdict.FAILED, reason, around);
  const prompts = nextBatchSize(run, morePairs);
  if (prompts > 0) return openBatch(run, prompts, around);
  return finish(run, Verdict.FAILED, `${reason}; no further batch, because ${whySpent(run)}`, around);
}

function whySpent(run: Run): string {
  const { batches, state, terms } = run;
  if (batches.length >= MAX_BATCHES) return `${MAX_BATCHES} batches have been tried`;
  if (callsLeft(run) < MIN_FURTHER_BATCH) return `budget.calls (${terms.budgetCalls}) is spent`;
  if (isSpent(run)) {
    return `budget.usd (${terms.budgetUsd}) is spent`;
  }
  return `all ${state.population} inputs within the budget have been asked`;
}

/** A batch that an outside program closed; ours are known before they are closed. */
function closedByOthers(
  run: Run,
  { batch: number, count, promptIds }: { batch: number; count: number; promptIds: Uint8Array },
  around: Surroundings,
): Run {
  if (!run.ownPrompts || run.batches.some((batch) => batch.number === number)) return run;
  if (run.batches.length === MAX_OUTSIDE_BATCHES) {
    const reason = `expected at most ${MAX_OUTSIDE_BATCHES} batches in one run, got more; make them larger`;
    return finish(run, Verdict.BROKEN, reason, around);
  }
  const prompts = count || promptIds.length / PROMPT_ID_BYTES;
  const from = run.batches.at(-1)?.to ?? 0;
  const batches = [...run.batches, { number, from, to: from + prompts, submitted: prompts, closed: true }];
  const state = { ...run.state, batches: batches.length, submitted: from + prompts };
  return alive({ ...run, batches, state }, around);
}

const stageThatHandles: Partial<Record<DeadLetterFact['of'], RunStage>> = {
  'prompt.submitted': RunStage.LABELLING,
  'batch.closed': RunStage.LABELLING,
  'teacher.answered': RunStage.LABELLING,
  'teacher.declined': RunStage.LABELLING,
  'pairs.sealed': RunStage.TRAINING,
  'student.trained': RunStage.EVALUATING,
  'eval.passed': RunStage.PROMOTING,
};

/** True when a lost message belongs to a stage that the run has not reached yet: the fact that moves it there is on its way. */
export function isAhead(run: Run, { of, seal }: DeadLetterFact): boolean {
  const stage = stageThatHandles[of];
  return !isFinished(run) && !isLate(run, seal) && stage !== undefined && stage > run.state.stage;
}

/** Without the lost message the stage that waits for it never ends. Others' lost messages change nothing. */
function deadLettered(run: Run, fact: DeadLetterFact, around: Surroundings): Run {
  if (isLate(run, fact.seal) || stageThatHandles[fact.of] !== run.state.stage) return run;
  const openReports = run.openReports.filter((report) => report !== fact.reportDigest);
  const stillOpen = fact.of === 'eval.passed' && openReports.length > 0;
  if (stillOpen) return openReports.length === run.openReports.length ? run : { ...run, openReports };
  return finish(run, Verdict.BROKEN, `${fact.consumer} gave up on ${fact.of}: ${fact.reason}`, around);
}

const isLate = (run: Run, seal: number): boolean => seal !== 0 && seal < run.seal;

const alive = (run: Run, { nowMs }: Surroundings): Run => ({ ...run, lastSignOfLifeMs: nowMs });

function enter(run: Run, stage: RunStage, around: Surroundings): Run {
  if (run.state.stage === stage) return alive(run, around);
  const started = create(StageStartSchema, { stage, at: timestampFromMs(around.nowMs) });
  const stages = [...run.state.stages, started];
  return alive({ ...run, state: { ...run.state, stage, stages } }, around);
}

function finish(run: Run, verdict: Verdict, reason: string, around: Surroundings): Run {
  const spending = verdict === Verdict.BROKEN || verdict === Verdict.CANCELLED;
  const ended = enter(run, RunStage.FINISHED, around);
  return {
    ...ended,
    state: { ...ended.state, verdict, reason, finishedAt: timestampFromMs(around.nowMs) },
    announce: spending ? ['run.cancelled', 'run.finished'] : ['run.finished'],
  };
}

function noAnswerReason(state: RunState): string {
  const reasons = Object.entries(state.declinesByReason).map(([reason, count]) => `${reason} ${count}`);
  const told = reasons.length === 0 ? '' : ` (${reasons.join(', ')})`;
  return `the teacher answered none of the first ${state.declined} prompts${told}: check teacher and budget in the task`;
}
