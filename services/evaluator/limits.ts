/** Bounds of the evaluator, each with its reason. Those of the statistics stand where they are used. */

/** Pairs of one snapshot held in memory while they are judged: a text of 2 KB each makes 2 GB. */
export const MAX_PAIRS = 1_000_000;
/** Reading a split over gRPC: a million pairs at 10,000 a second take under two minutes. */
export const STREAM_TIMEOUT_MS = 300_000;
/** Texts judged at once: long enough to use the runtime well, short enough to keep messages alive between. */
export const TEXTS_PER_CALL = 64;
/** Threads of one operator: students are small, and a latency of one thread holds on any machine. */
export const INFERENCE_THREADS = 1;
/** Calls to a teacher at once when it is asked again: few, since its rate belongs to runs and clients. */
export const CEILING_CONCURRENCY = 4;
/** Part of the budget's calls that asking again may take: with a run's first batch still less than a fifth. */
export const CEILING_SHARE = 0.04;
/** One of them, retries of the gateway included. */
export const CEILING_TIMEOUT_MS = 300_000;
/** Until the next try where the teacher is away. */
export const CEILING_RETRY_MS = 30_000;
/** Single requests timed. p99 of 500 rests on five values. */
export const TIMED_REQUESTS = 500;
/** Newest looks and reports kept of a task; with about 500 bytes each they stay below a NATS payload of 1 MiB. */
export const MAX_KEPT_LOOKS = 500;
export const MAX_KEPT_REPORTS = 1_000;
/** Earlier test sets that are read to tell which pairs were looked at before; splits are fixed, so they hardly differ. */
export const MAX_COMPARED_LOOKS = 20;
/** An answer to ListReports, well below what one gRPC message may hold. */
export const MAX_LISTED_BYTES = 8 * 1024 * 1024;
/** Cancelled runs remembered, the newest ones: of each, events can come for as long as the stream holds them. */
export const MAX_CANCELLED_RUNS = 10_000;
