/** Bounds of the prompt service, each with its reason. Those of reading sources are in `sources/limits.ts`. */

/** Bad records that a run shrugs off; more means that the source is not what the task says it is. */
export const MAX_BAD_RECORDS = 1_000;
/** Bad records shown with their places: enough to see the pattern. */
export const MAX_BAD_RECORD_DETAILS = 10;
/** The sample of a run is drawn in memory. */
export const MAX_SAMPLE_BYTES = 1024 * 1024 * 1024;
/** Prompts of the sample kept in one blob: small enough to hold two in memory, large enough that a run has few. */
export const SAMPLE_CHUNK_PROMPTS = 5_000;
export const SAMPLE_CHUNK_BYTES = 32 * 1024 * 1024;
/** Fewer further prompts than this move no bound, and each look at the test pairs costs confidence. */
export const MIN_FURTHER_BATCH = 100;
/** Batches of one run, the first included: with doubling, the tenth has 500 times as many prompts as the first. */
export const MAX_BATCHES = 10;
/** So many declines without a single answer: this teacher will not answer the rest either. */
export const MAX_DECLINES_WITHOUT_ANSWER = 100;
/** Verdicts of the evaluator that may wait for the deployer at once: one, plus what is replayed or forged. */
export const MAX_OPEN_REPORTS = 16;
/** Reading a slow network folder takes a while; a hanging one would take for ever. */
export const SAMPLING_DEADLINE_MS = 60 * 60 * 1_000;
