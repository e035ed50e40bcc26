import type { EventType, PayloadOf } from '@understudy/contract';
import type { StatsResponse } from '@understudy/contract/pair-store';
import type { RunState } from '@understudy/contract/prompt';
import type { Sample } from './sample.ts';

/** A part of a run's sample in the blob store: JSON lines of `SampledPrompt`. */
export interface SampleChunk {
  digest: string;
  prompts: number;
}

/** Prompts `from` to `to` (exclusive) of the sample; for prompts that somebody else submits only their number counts. */
export interface Batch {
  number: number;
  from: number;
  to: number;
  /** Prompts known to be on the bus; after a crash publishing goes on from here, with the same ids. */
  submitted: number;
  closed: boolean;
  /**
   * Of a batch that the student before chooses: null until its prompts are chosen, then where they are. Absent: the next ones of
   * the sample.
   */
  chosen?: SampleChunk[] | null;
}

/** What the task allows a run, fixed when it begins: the run ends with a verdict even where its task can no longer be read. */
export interface RunTerms {
  budgetCalls: number;
  budgetUsd: number;
  firstBatch: number;
  /** The first batch is ended early where it would take more than its share of the budget. */
  boundedFirst?: boolean;
  batchGrowth: number;
  /** Further batches are chosen by the student before. */
  active?: boolean;
  /** Answers that each prompt is asked for; runs of earlier versions asked for one. */
  callsPerPrompt?: number;
  /** Longest time that one prompt may take through all its attempts. */
  attemptsMs: number;
  trainingMs: number;
}

export type Announcement = 'run.cancelled' | 'run.finished';

/** A run: what everyone may see, and what this service needs to go on after a crash. */
export interface Run {
  state: RunState;
  terms: RunTerms;
  /** Somebody else submits the prompts and closes the batches. */
  ownPrompts: boolean;
  /** W3C trace context that everything of this run belongs to. */
  traceparent: string;
  chunks: SampleChunk[];
  /** Prompts at the beginning of the sample that are finished pairs, and cost no call. */
  pairs?: number;
  batches: Batch[];
  /** The seal that the run waits for or works on; facts about earlier ones are late. */
  seal: number;
  lastSignOfLifeMs: number;
  /** Digests of reports that passed and wait for the deployer. */
  openReports: string[];
  /** Facts about the end that are not known to be on the bus. */
  announce: Announcement[];
}

/** Facts from the bus that move a run. */
export type MovingType =
  | 'batch.closed'
  | 'pairs.sealed'
  | 'training.progressed'
  | 'student.trained'
  | 'eval.passed'
  | 'eval.failed'
  | 'student.promoted'
  | 'student.staged'
  | 'run.cancelled';

export type BusFact = { [T in MovingType]: { type: T; payload: PayloadOf<T> } }[MovingType];

/** A message of this run that some consumer gave up on. */
export interface DeadLetterFact {
  type: 'dead-lettered';
  of: EventType;
  consumer: string;
  reason: string;
  /** Of the lost message, where it has them. */
  seal: number;
  reportDigest: string;
}

export type RunFact =
  | BusFact
  | DeadLetterFact
  | { type: 'sampled'; sample: Omit<Sample, 'prompts'>; chunks: SampleChunk[] }
  | { type: 'selected'; batch: number; chunks: SampleChunk[] }
  | { type: 'submitted'; batch: number; prompts: number }
  | { type: 'closed'; batch: number }
  | { type: 'counted'; stats: StatsResponse }
  | { type: 'broken'; reason: string }
  | { type: 'cancelled'; reason: string }
  | { type: 'announced'; announcement: Announcement }
  | { type: 'resumed' }
  | { type: 'tick' };

/** What a run wants done next. All of it may be done twice without harm. */
export type Command =
  | { type: 'sample' }
  | { type: 'choose'; batch: Batch }
  | { type: 'submit'; batch: Batch }
  | { type: 'close'; batch: Batch }
  | { type: 'announce'; announcement: Announcement };
