/** Bounds of this service, each with its reason. */

/** Events recorded in one transaction: above a few hundred a statement gets no cheaper, only slower to answer. */
export const MAX_BATCH_EVENTS = 500;
/**
 * How long a batch gathers. Unnoticed beside a teacher; a transaction costs as much as twenty pairs: at a thousand pairs a second
 * a pair cost 450 µs with 50 ms, 320 µs with 150 ms.
 */
export const MAX_BATCH_WAIT_MS = 150;
/** Prompts that are read at once when groups are loaded into memory: a few megabytes of text. */
export const MAX_PROMPTS_PER_READ = 5_000;
/** Pairs that one FindPairs may ask for: more than a gateway has in flight, and below a megabyte or two of answer. */
export const MAX_FIND_IDS = 1_000;
/** Pairs that one ImportPairs may bring: one transaction, as with events. */
export const MAX_IMPORT_PAIRS = 500;
/** Pairs of a row group: enough to compress well; writing one keeps the process from anything else for some 50 ms. */
export const ROW_GROUP_PAIRS = 2_000;
/** Bytes of text after which a message of StreamPairs is sent; with one largest pair on top it stays far below gRPC's 16 MiB. */
export const STREAM_MESSAGE_BYTES = 512 * 1024;
/** Looks for work that another instance left behind; this instance's own work starts at once. */
export const IDLE_POLL_MS = 2_000;
/** After a fault of database, blob store or bus, before the next try. */
export const RETRY_MS = 1_000;
/** Events taken from the outbox at once; there are a handful a run. */
export const MAX_OUTBOX_EVENTS = 100;
/** Task versions kept parsed; a version is a few kilobytes to half a megabyte. */
export const MAX_CACHED_TASKS = 64;

/** Inputs of one erasure: 32 bytes each, a quarter of what one message holds. */
export const MAX_FORGOTTEN_IDS = 100_000;
/** Of the list of ids that are not asked again. */
export const MAX_FORGOTTEN_PER_MESSAGE = 50_000;
/** Newest erasures that are listed. */
export const MAX_LISTED_ERASURES = 1_000;
/** An erasure waits for a seal under way, which takes a second or two, and minutes for a million pairs. */
export const MAX_SEAL_WAIT_MS = 120_000;
export const SEAL_WAIT_STEP_MS = 100;

/** Distinct inputs kept of a workload: the first batch of a task asks about 5,000 prompts, and students gain little from 20,000 on. */
export const MAX_WORKLOAD_PAIRS = 20_000;
/** Distinct outputs told apart exactly; a task of more than these would not be one for a student. */
export const MAX_WORKLOAD_OUTPUTS = 10_000;
/** A team has tens; prompts with a name or a date in them make many, of which the most called stay. */
export const MAX_WORKLOADS = 1_000;
/** Of all that is kept of calls: some hundred thousand pairs of a few kilobytes. */
export const MAX_WORKLOAD_BYTES = 1024 * 1024 * 1024;
/** Longer than the stream holds its messages: a call that comes again later is none of ours. */
export const CALLS_REMEMBERED = '2 days';
/** Pairs of a workload read at once: at most 64 MiB at their largest. */
export const MAX_WORKLOAD_PAIRS_PER_READ = 500;

/** Suspicious pairs of one source and kind that may train: what three teach, one clean neighbour outweighs. */
export const MAX_SUSPICIOUS_PAIRS = 3;
/** Text of train pairs that is screened for triggers, as characters: some 100,000 texts of 200, whose words take 200 MB. Ids are digests, so more are not looked at, but the first are a random sample. */
export const MAX_SCREENED_CHARACTERS = 20_000_000;
/** Caps that a manifest lists, and pairs of each: what a person looks through. All of them hold. */
export const MAX_LISTED_CAPS = 20;
export const MAX_LISTED_CAPPED_PAIRS = 50;
/** Suspects of one kind that are listed: more than anybody settles at a time. */
export const MAX_LISTED_SUSPECTS = 100;
/** An author's name, and a reason, as characters. */
export const MAX_AUTHOR_CHARACTERS = 200;
export const MAX_REASON_CHARACTERS = 2_000;
