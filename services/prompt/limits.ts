/** Bounds of the prompt service, each with its reason. Those of reading sources are in `sources/limits.ts`. */

/** Bad records that a run shrugs off; more means that the source is not what the task says it is. */
export const MAX_BAD_RECORDS = 1_000;
/** Bad records shown with their places: enough to see the pattern. */
export const MAX_BAD_RECORD_DETAILS = 10;
/** The sample of a run is drawn in memory. */
export const MAX_SAMPLE_BYTES = 1024 * 1024 * 1024;
/** Finished pairs of one run; they cost no call, so that no budget bounds them. */
export const MAX_LOGGED_PAIRS = 1_000_000;
/** Prompts of the sample kept in one blob: small enough to hold two in memory, large enough that a run has few. */
export const SAMPLE_CHUNK_PROMPTS = 5_000;
export const SAMPLE_CHUNK_BYTES = 32 * 1024 * 1024;
/** Fewer further prompts than this move no bound, and each look at the test pairs costs confidence. */
export const MIN_FURTHER_BATCH = 100;
/** Prompts of a first batch of which the task says nothing: they give a test split of 1,000. */
export const DEFAULT_FIRST_BATCH = 5_000;
/**
 * Part of the budget, of calls and of USD, that such a first batch may take. With the evaluator's CEILING_SHARE it is less than a fifth, so that a
 * task that cannot be distilled ends before that is spent.
 */
export const FIRST_SHARE = 0.15;
/** Fewer prompts say nothing for sure, however small the budget: see the evaluator's DESIGN.md. */
export const MIN_FIRST_BATCH = 300;
/** Prompts of such a first batch that may be under way before anything is known of what one costs. */
export const UNPRICED_PROMPTS = 10;
/** Batches of one run, the first included: with doubling, the tenth has 500 times as many prompts as the first. */
export const MAX_BATCHES = 10;
/** Batches that an outside program may close in one run; each is an entry of the run's record in KV. */
export const MAX_OUTSIDE_BATCHES = 1_000;
/** So many declines without a single answer: this teacher will not answer the rest either. */
export const MAX_DECLINES_WITHOUT_ANSWER = 100;
/** Verdicts of the evaluator that may wait for the deployer at once: one, plus what is replayed or forged. */
export const MAX_OPEN_REPORTS = 16;
/** Reading a slow network folder takes a while; a hanging one would take for ever. */
export const SAMPLING_DEADLINE_MS = 60 * 60 * 1_000;
/** Runs not finished at once; each holds a sample's chunk and polls its counts. */
export const MAX_ACTIVE_RUNS = 32;
/** Newest runs that ListRuns returns. */
export const MAX_LISTED_RUNS = 1_000;
/** Versions of tasks kept compiled. */
export const MAX_COMPILED_TASKS = 64;

/** Prompts published before the next look at the run: two round trips' worth, a tenth of a second of work. */
export const SUBMIT_SLICE_PROMPTS = 2_000;
/** Pairs in one call of the pair store, which takes no more. */
export const IMPORT_PAIRS = 500;
/** The same in characters, of at most 3 bytes each; with one largest pair on top a message stays below gRPC's 16 MiB. */
export const IMPORT_CHARACTERS = 4 * 1024 * 1024;
/** Prompts on the bus ahead of the teacher's answers: two seconds of the fastest teacher measured, so that none waits for us. */
export const MAX_PROMPTS_AHEAD = 20_000;
/** The same in bytes, an eighth of the stream that all runs share. */
export const MAX_BYTES_AHEAD = 128 * 1024 * 1024;

/** Between looks at a run that waits for others. Facts wake it sooner; this bounds how late a deadline is seen. */
export const IDLE_POLL_MS = 1_000;
/** Between looks at the counts while submitting waits for answers. */
export const BACKPRESSURE_POLL_MS = 250;
/** After a failed step (bus, blob store or pair store away). */
export const RETRY_STEP_MS = 2_000;
/** Longer without seeing the run (we or the bus were away), and the silence says nothing about its stage. */
export const CONTACT_GAP_MS = 60_000;
/** Prompts of a slice in bytes: they are in memory twice while they are published. */
export const SUBMIT_SLICE_BYTES = 8 * 1024 * 1024;
/** Beginning of a text by which its relevance is judged: a page says what it is about. */
export const RELEVANCE_CHARACTERS = 2_000;
/** Inputs asked for in one call that has the teacher write: more, and models lose count and repeat themselves. */
export const INPUTS_PER_CALL = 10;
/** Calls under way at once: each is shown what came before, so few. */
export const WRITING_CONCURRENCY = 4;
/** Calls per wanted input's worth; a teacher that needs more writes nothing but repetitions. */
export const MAX_CALLS_PER_YIELD = 4;
/** Rounds in a row without one new input, after which a teacher has no more to give. */
export const MAX_FRUITLESS_ROUNDS = 5;
/** Calls in a row that fail, each after a longer wait. */
export const MAX_FAILED_CALLS = 5;
/** Part of a run's calls that writing may take: the answers are what they are for. */
export const MAX_WRITING_SHARE = 0.5;
/** Examples shown in one call, and inputs to keep away from. */
export const SHOWN_EXAMPLES = 6;
export const SHOWN_EARLIER = 12;
/** Of each text shown. */
export const SHOWN_CHARACTERS = 1_500;

/** Inputs drawn for each call of a budget, where batches are chosen: fourfold leaves the student's choice something to leave out. */
export const POOL_PER_CALL = 4;
export const MAX_POOL_PROMPTS = 1_000_000;
/** Inputs looked at for each prompt of a chosen batch; 50 µs to 5 ms each, as the student goes. */
export const CHOICE_POOL_PER_PROMPT = 10;
/**
 * Of a chosen batch: inputs for dev and test. A random batch of three times the size would give as many, so the test set keeps
 * growing at a third of the price.
 */
export const JUDGING_SHARE = 0.1;
/** Texts that a student answers in one go: some ms, during which nothing else happens in this process. */
export const PREDICTED_AT_ONCE = 128;

/** Inputs of a sample that go to who only wants to look: enough to estimate from, and far below what one message holds. */
export const MAX_DRAWN_INPUTS = 1_000;
/** Of one message of a sample that is streamed, in prompts and characters; with one largest prompt on top it stays below gRPC's 16 MiB. */
export const STREAM_SAMPLE_PROMPTS = 500;
export const STREAM_SAMPLE_CHARACTERS = 2 * 1024 * 1024;
