/** Bounds of the deployer, each with its reason. Levels of evidence stand in `judge.ts`. */

/**
 * Deliveries of an `eval.passed` before a report that the evaluator does not know is taken for a forgery: a replica of its
 * index may be a moment behind the evaluator that wrote the report.
 */
export const DELIVERIES_BEFORE_FORGED = 3;
export const UNKNOWN_REPORT_RETRY_MS = 300;
/** Promotions under way at once: each holds one bundle in memory. */
export const CONCURRENT_PROMOTIONS = 2;

/** Facts weighed together: one write of a task's watch for all of them. */
export const AUDIT_BATCH = 128;
export const AUDIT_WAIT_MS = 100;
/** Ids of counted facts that a watch remembers: eight times what may be under way on the consumer, at 50 bytes each. */
export const MAX_KNOWN_FACTS = 2_048;
/** Versions of tasks and reports of students kept in memory. */
export const MAX_KNOWN_STANDINGS = 256;

/** Prompts that the teacher is asked again: with 50, a change of 30% of its answers is seen in nearly every round. */
export const CANARY_PROMPTS = 50;
/** Fewer answers than this say nothing about the teacher. */
export const MIN_CANARY_ANSWERS = 20;
/** Canary prompts asked at once: a watch is in no hurry. */
export const CANARY_CONCURRENCY = 4;
/** Share of prompts that a teacher which has not changed may answer otherwise twice in a row. */
export const LEAST_UNSTEADINESS = 0.05;
/** A steady teacher is taken for changed with at most this probability, over all rounds. */
export const DRIFT_LEVEL = 0.01;
/** Of a snapshot's first pairs. */
export const STREAM_TIMEOUT_MS = 60_000;
/** How often deployments are looked at for a round that is due. */
export const DRIFT_POLL_MS = 15_000;

/** How often new pairs are counted: a count reads the task's index once, and a run takes minutes. */
export const NEW_PAIRS_POLL_MS = 60_000;
/** New pairs that are worth a run at all. */
export const MIN_NEW_PAIRS = 100;

/** Bins of confidence, as reports and gateways count them. */
export const CONFIDENCE_BINS = 15;
/** Answers in one window of confidences: with fewer, the index is noise of its own size. */
export const SHIFT_WINDOW_ANSWERS = 1_000;
/** Population stability index from which on a population counts as another one, by long custom in credit scoring. */
export const SHIFTED_INDEX = 0.25;

/** Of a refusal's reason: a forged event may make it as long as it likes. */
export const MAX_REFUSAL_CHARACTERS = 1_000;
/** Of what a person says about a decision. */
export const MAX_AUTHOR_CHARACTERS = 100;
export const MAX_REASON_CHARACTERS = 2_000;

/** Students of one erasure: a task has some tens of runs, of one student each. */
export const MAX_QUARANTINED = 1_000;
