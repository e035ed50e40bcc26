import type { Device, Engine } from '@understudy/graph';
import type { Head } from '@understudy/task/output/head';
import type { CheckpointStore, EpochResult } from './checkpoint.ts';
import type { Description, Lineage } from './description.ts';
import type { CheckpointError } from './errors.ts';
import type { Example } from './examples.ts';

/** The ladder, cheapest first. */
export const FAMILIES = ['bag', 'conv', 'transformer', 'encoder'] as const;
export type Family = (typeof FAMILIES)[number];

/** How much of a published encoder is trained, besides the heads. */
export const TRAINED_PARTS = ['heads', 'last-layers', 'all'] as const;

/** A published encoder: a folder in Hugging Face layout, and how much of it is trained. */
export type EncoderSource = { readonly folder: string; readonly train: (typeof TRAINED_PARTS)[number] };

/** One rung: a family with its hyperparameters; `encoder` also names the pretrained model. */
export type Candidate = {
  readonly family: Family;
  /** Settings that differ from the family's defaults, by name. */
  readonly hyperparameters?: Readonly<Record<string, number>>;
  /** Required for `encoder`, and for nothing else. */
  readonly encoder?: EncoderSource;
};

/** How a training goes on; for displays. */
export type TrainingReport = {
  readonly epoch: number;
  readonly epochs: number;
  readonly step: number;
  readonly steps: number;
  /** Mean loss of the epoch so far, in nats. */
  readonly loss: number;
  /** Of the last epoch that ended. */
  readonly devAgreement: EpochResult['devAgreement'] | undefined;
};

/** What is to be trained on what, and how the caller takes part. */
export type StudentTraining = {
  readonly candidate: Candidate;
  /** What it answers: see `OutputPlan.heads`. */
  readonly heads: readonly Head[];
  readonly train: readonly Example[];
  readonly dev: readonly Example[];
  /** Any safe integer; the same one gives the same student on the same machine. */
  readonly seed: number;
  /** Threads of one operator. Another number gives a student that differs in the last bits. */
  readonly threads: number;
  /** What runs the steps; `ort` where absent. */
  readonly engine?: Engine;
  /** Where steps run; `cpu` where absent. Another device gives a student that differs in the last bits. */
  readonly device?: Device;
  readonly lineage: Lineage;
  /** What the bundle may take: see `exportStudent`; any size where absent. */
  readonly maxBytes?: number;
  /** Where what frozen encoders give for texts is kept for the next training; in memory alone where absent. */
  readonly cacheFolder?: string;
  /** Told once why that folder is not used any more (full, read-only, gone); the training goes on in memory alone. */
  readonly onCacheLost?: (error: Error) => void;
  readonly checkpoints?: CheckpointStore;
  /** Stops the training between two steps; the training then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (report: TrainingReport) => void;
  /** Told why a checkpoint was not continued from; the training then starts over. */
  readonly onCheckpointRefused?: (error: CheckpointError) => void;
};

/** A finished student: its bundle as one archive, the SHA-256 (hex) of it, and what `understudy.json` says. */
export type ExportedStudent = {
  readonly digest: string;
  readonly archive: Uint8Array;
  readonly description: Description;
};
