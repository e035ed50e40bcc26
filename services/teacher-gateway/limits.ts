/** Bounds of the teacher gateway, each with its reason. Those of leases and permits stand where they are used, in `ledger/`. */

/**
 * Calls in flight at one teacher. The embedded one computes, and says itself how many it is worth to have wait; a model server
 * batches dozens; a model on the bus may answer within a millisecond, so that all else around a call has to overlap.
 */
export const DEFAULT_CONCURRENCY = { embedded: 8, openai: 64, anthropic: 64, onnx: 32, nats: 512 } as const;
/**
 * Prompts taken beyond those whose call can be in flight, for each of these: claiming and looking up overlap with the calls of others.
 * Both gather for 50 ms, so that of calls of 100 ms one round ahead is just too late where many replicas share processors.
 */
export const PREPARE_SHARE = 2;
export const MIN_PREPARED = 4;

/** Ids in one FindPairs: a round trip's worth at a few thousand a second. */
export const MAX_LOOKUP_IDS = 256;
/**
 * Between two FindPairs of one task. An RPC costs as much as all else that a prompt needs; with this interval it is shared by
 * some prompts at 100 a second, by hundreds at thousands, and the prompts that are prepared meanwhile hide the wait.
 */
export const LOOKUP_INTERVAL_MS = 50;
export const LIVE_LOOKUP_INTERVAL_MS = 10;
export const LOOKUP_TIMEOUT_MS = 5_000;
/** A live request rather pays again than waits longer for the pair store. */
export const LIVE_LOOKUP_TIMEOUT_MS = 500;
/** While the pair store is away a prompt waits this long in hand, looking again now and then; then it goes back to the bus. */
export const LOOKUP_PATIENCE_MS = 60_000;
export const LOOKUP_RETRY_MS = 500;
export const LOOKUP_LATER_MS = 10_000;

/**
 * Claims of questions gather for so long, and every replica hears those of all. The lookups that follow them are one RPC then,
 * so that a prompt waits no longer than for that.
 */
export const CLAIMS_WAIT_MS = LOOKUP_INTERVAL_MS;
/** Of 140 bytes each: far below the bus's megabyte. */
export const MAX_CLAIMS_PER_MESSAGE = 2_000;
/** A claim outlives two lost renewals; after it a question whose replica died is asked elsewhere. */
export const CLAIM_MS = 10_000;
export const CLAIM_RENEWAL_MS = 3_000;
/** A claim that the bus has not told of by then is given up, and its prompt comes again later. */
export const CLAIM_PATIENCE_MS = 30_000;
export const CLAIMS_LATER_MS = 5_000;

/** A lease is written within milliseconds; a call that waits longer for its budget does not keep its place in flight. */
export const PERMIT_PATIENCE_MS = 250;
/** First wait before another attempt, doubled each time up to the longest, shortened by up to half at random. */
export const FIRST_BACKOFF_MS = 500;
export const MAX_BACKOFF_MS = 20_000;

/** While its teacher is away a prompt waits so long in hand, so that all goes on at once after a short pause; then on the bus. */
export const AWAY_PATIENCE_MS = 5_000;
/** A live request would rather be answered by a student that is not sure than wait longer. */
export const LIVE_AWAY_PATIENCE_MS = 1_000;
/**
 * How long it waits on the bus: until the next try, or a quarter of how long the teacher has been away. So work resumes soon
 * after a short outage, and a long one uses up few of the deliveries that a prompt has.
 */
export const AWAY_DELAY_SHARE = 1 / 4;
export const MIN_AWAY_DELAY_MS = 1_000;
export const MAX_AWAY_DELAY_MS = 300_000;
/** What the deliveries that a prompt has allow, with some left for other reasons. */
export const MAX_OUTAGE_PATIENCE_MS = 2 * 3_600_000;

/** Outcomes remembered for what comes again before the pair store has recorded them: some seconds' worth. */
export const MAX_RECENT_OUTCOMES = 10_000;
export const RECENT_OUTCOME_MS = 120_000;

/** Task versions kept compiled, each with its connector. */
export const MAX_KNOWN_TASKS = 64;
/** While the blob store is away; with the deliveries that a prompt has, it may be so for more than a minute. */
export const TASK_LATER_MS = 10_000;
/** Live requests under way; beyond it callers are told to come again. */
export const MAX_LIVE_REQUESTS = 1_024;
export const LIVE_RETRY_AFTER_MS = 200;
/** Instructions and text of a request to write inputs: a few dozen examples of a paragraph each. */
export const MAX_WRITING_CHARACTERS = 256 * 1024;
/** Inputs asked for in one answer; models lose count and repeat themselves long before. */
export const MAX_INPUTS_PER_ANSWER = 50;
/** Runs whose cancellation is remembered. */
export const MAX_CANCELLED_RUNS = 10_000;

/**
 * Answers that the pair store has not recorded yet. Some seconds of its work: a prompt that comes again half a minute
 * later finds its answer there, and a store that is down does not have answers piled up before it.
 */
export const MAX_STORE_LAG_MESSAGES = 10_000;
export const STORE_LAG_POLL_MS = 1_000;

/** Of a decline's detail, enough for a person to act on. */
export const MAX_DETAIL_CHARACTERS = 500;

/** Inputs that a cost is estimated from: at a thousand the sample is the least of what is uncertain. */
export const MAX_ESTIMATE_INPUTS = 1_000;
/** Of the name that a server gives its model. */
export const MAX_MODEL_CHARACTERS = 200;
