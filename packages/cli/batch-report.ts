/** What `understudy batch` and the process that it starts tell each other. */

/** The process's one argument, as JSON. */
export interface BatchRequest {
  task: string;
  taskDigest: string;
  /** File in which the batch of this version of the task is remembered. */
  book: string;
  submit: boolean;
  /** Where files of requests are written instead. */
  out?: string;
  prompts?: number;
  perFile?: number;
}

export interface BatchReport {
  prompts: number;
  /** Of the sample: those left out, because their answers were there. */
  known: number;
  /** The most that the batch can cost at the task's prices. */
  boundUsd: number;
  /** Those that were written. */
  files: string[];
  parts: { prompts: number; batchId: string | null; status: string | null }[];
  /** Prompts by what became of them. */
  outcomes: Record<string, number>;
  /** Lines that belonged to no prompt, or to one that had another, by reason. */
  strays: Record<string, number>;
  inputTokens: number;
  outputTokens: number;
  spentUsd: number;
}

export type BatchMessage = { note: string } | { report: BatchReport } | { failed: string };
