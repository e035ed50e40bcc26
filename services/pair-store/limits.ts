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
