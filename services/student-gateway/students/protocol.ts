/** What the main thread and a student's thread say to each other: one answer to each message, in order. */

import type { OutputJsonSchema } from '@understudy/task';

/** All that a thread needs to become a student, at first and again after a crash. */
export interface StudentMaterial {
  readonly studentDigest: string;
  /** The bundle's archive, as the blob store verified it. */
  readonly bundle: Uint8Array;
  /** The policy as the blob store verified it. */
  readonly policyJson: string;
  /** The task's output schema: the student must have been trained for its heads. */
  readonly outputSchema: OutputJsonSchema;
  /** Texts to warm up with. */
  readonly warmUpTexts: readonly string[];
  readonly threads: number;
}

/** One entry a text, in the texts' order. */
export interface Predictions {
  /** Canonical JSON of the likeliest answer; undefined where only the teacher can answer. */
  readonly answers: readonly (string | undefined)[];
  /** The student's confidence in the whole answer, 0..1; of a single label its calibrated probability. */
  readonly confidences: Float64Array;
  /** 1 where the policy lets the student answer. */
  readonly sure: Uint8Array;
  /** Tokens that the student read. */
  readonly tokens: Uint32Array;
}

export type ToThread =
  | { kind: 'load'; material: StudentMaterial }
  | { kind: 'predict'; texts: string[] }
  | { kind: 'unload' };

export type FromThread =
  | { kind: 'done' }
  | { kind: 'predicted'; predictions: Predictions }
  | { kind: 'failed'; message: string };
