/** Bounds of a task and of what passes through it, each with its reason. */

/** A canonical input travels in one bus message beside its rendered text; NATS carries 1 MiB by default. */
export const MAX_INPUT_BYTES = 256 * 1024;
/** The whole task is one KV value and rides along in RPCs; half of NATS's default payload leaves room for headers. */
export const MAX_TASK_BYTES = 512 * 1024;
/** Few-shot examples are sent with every call to a large model; more than this is a training set. */
export const MAX_EXAMPLES = 1_000;
/** A softmax head and a per-class report stay readable; beyond it the job is retrieval. */
export const MAX_LABELS = 1_000;
/** One enum field is a few dozen bytes; anything near this is a teacher that rambles. */
export const MAX_ANSWER_CHARACTERS = 64 * 1024;
/** What a student reads at most; longer texts are cut (or refused, if the task says so). */
export const MAX_RENDERED_CHARACTERS = 100_000;
/** One run's sample is held in memory while it is drawn. */
export const MAX_BUDGET_CALLS = 1_000_000;
/** Each is a head of the student and a row of the report; an answer with more is a document, not a call. */
export const MAX_HEADS = 100;
/** Nested objects in an output schema: deeper ones are no longer read by anybody who writes a prompt. */
export const MAX_SCHEMA_DEPTH = 16;
/** Fewer examples say too little about what belongs to a task. With 20, 1 of 250 inputs that belong was left out (measured on Banking77). */
export const MIN_RELEVANCE_EXAMPLES = 20;
/** Ten for each head that is allowed: constants, lists and references have subschemas of their own. */
export const MAX_SUBSCHEMAS = 1_000;
/** More than anybody corrects before trying again. */
export const MAX_SCHEMA_FAULTS = 50;
