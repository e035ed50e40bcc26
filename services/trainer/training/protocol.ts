/** What the service and its training processes say to each other: JSON over the process's IPC channel. */
import type { Place } from '@understudy/graph';
import type { BlobConfig } from '@understudy/service/blobs/open-blob-store';
import type { Candidate, TrainingReport } from '@understudy/student';
import { z } from 'zod';
import type { Order } from '../order.ts';

/** The one message to the process. It carries credentials, so it is never in arguments or files. */
export type Job = {
  readonly order: Order;
  readonly candidate: Candidate;
  /**
   * Trains on this many of the train pairs, always the same ones, only to be measured, on dev and on train pairs that it did not
   * learn from: its student is not kept. All where undefined.
   */
  readonly trainPairs: number | undefined;
  /** Trains on parts of train, only to find pairs that contradict what the others teach. */
  readonly acrossFolds: boolean;
  /** Where the candidate keeps its checkpoint. */
  readonly checkpoint: string;
  /** Where what frozen encoders give for texts is kept on this machine. */
  readonly cacheFolder: string;
  readonly threads: number;
  /** What trains, and where. */
  readonly place: Place;
  readonly blobs: BlobConfig;
  readonly pairStoreAddress: string;
  readonly rpcToken: string | undefined;
  readonly traceparent: string | undefined;
};

const count = z.int().nonnegative();

export const TrainedSchema = z.strictObject({
  studentDigest: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.int().positive(),
  /** Those it was trained with, as canonical JSON. */
  hyperparameters: z.string(),
  /** Of the finished model on all of dev, by requests, 0..1. */
  devAgreement: z.number().min(0).max(1),
  /** Where it would answer itself: see `search/measure.ts`. */
  dev: z.strictObject({
    ...{ pairs: count, covered: count, agreeing: count, margin: z.number() },
    ahead: z.strictObject({ covered: count, agreeing: count }),
  }),
  /** Median of single answers on one thread. */
  latencyUs: count,
  /** Of the process that finished; what an earlier one did before it died is not in it. */
  trainingMs: count,
});

/** A student that was put into the blob store, and what was measured of it. */
export type Trained = z.infer<typeof TrainedSchema>;

/**
 * Who is at fault when no student came of a job: the order, and no candidate will do; this candidate, for good or (it
 * crashed) perhaps for now; or something else that will pass.
 */
export type Fault = 'order' | 'candidate' | 'crash' | 'passing';

/** Prompts whose answers copy what is not in their text: how many of each split, and why, by head. */
export type Unlearnable = {
  readonly train: number;
  readonly dev: number;
  readonly reasons: Readonly<Record<string, number>>;
};

/** Messages from the process. It ends after `trained` or `failed`; ending without either is a crash. */
export type FromTraining =
  | { readonly kind: 'progressed'; readonly report: TrainingReport }
  | { readonly kind: 'checkpoint-refused'; readonly reason: string }
  | { readonly kind: 'cache-lost'; readonly reason: string }
  | { readonly kind: 'unlearnable'; readonly unlearnable: Unlearnable }
  | { readonly kind: 'trained'; readonly trained: Trained }
  /** Blob digest of what was found. */
  | { readonly kind: 'found'; readonly foldsDigest: string }
  | { readonly kind: 'failed'; readonly fault: Fault; readonly message: string };
