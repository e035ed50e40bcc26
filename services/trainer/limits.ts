/** Bounds of the trainer, each with its reason. */

/** Pairs of one snapshot held in memory while they are trained on: a text of 2 KB each makes 2 GB. */
export const MAX_PAIRS = 1_000_000;
/** Reading a split over gRPC: a million pairs at 10,000 a second take under two minutes. */
export const STREAM_TIMEOUT_MS = 300_000;
/** A training process that says nothing for so long hangs; reading a full snapshot is the longest that a sound one is silent. */
export const MAX_SILENCE_MS = 900_000;
/** Progress is for displays: more than a fact a second would only fill the stream. */
export const PROGRESS_INTERVAL_MS = 1_000;
/** After a training process died, before another try: whatever took its memory may be gone by then. */
export const RETRY_AFTER_CRASH_MS = 2_000;
/** What a dying process wrote last, kept for the error message. */
export const MAX_STDERR_CHARACTERS = 4_000;
/** Cancelled runs remembered, the newest ones: of each, events can come for as long as the stream holds them. */
export const MAX_CANCELLED_RUNS = 10_000;
/** Processes tried for a candidate before it counts as failed: the second goes on from the first one's checkpoint. */
export const MAX_TRIES = 2;
/** Single answers timed for a candidate's latency: a median of 200 is steady to a few percent, and takes a second at most at 5 ms. */
export const TIMED_REQUESTS = 200;
/** A point of the learning curve: on fewer pairs than this few labels are seen more than once. */
export const MIN_CURVE_PAIRS = 20;
/** Train pairs that a point is measured on beside dev, of those it did not learn from: a standard error of 1.6 points at most. */
export const MAX_UNLEARNT_PAIRS = 1_000;
/** Parts of train when suspects are looked for: each pair is judged by a student of two thirds of the others, and it costs two trainings. */
export const FOLDS = 3;
/** Train pairs that suspects are looked for among: the first ones by id, a random sample; a bag learns from 20,000 short texts in a minute or two. */
export const MAX_FOLD_PAIRS = 20_000;
/** Suspects that are told, the most confident: more than anybody settles. */
export const MAX_SUSPECTS = 200;
/** Between notes of how much of its time a search has spent: a killed trainer forgets no more than this. */
export const CLOCK_INTERVAL_MS = 5_000;
/** Threads of a candidate that trains beside others. With one each, two cores would train two at once, and the cheaper one, which may be enough, would end later. */
export const MIN_THREADS = 2;
/** Memory of a training process at most: the largest encoder's shape in training, its runtime and its examples. */
export const PROCESS_MEMORY_BYTES = 2 * 1024 ** 3;
/** Fetching a published encoder: 256 MB at 1 MB a second. */
export const HUB_TIMEOUT_MS = 300_000;
/** One file of it: more would not fit into a bundle. */
export const MAX_HUB_FILE_BYTES = 256 * 1024 * 1024;
/** Between looks whether something was forgotten: features that encoders gave for it are kept no longer. */
export const ERASURES_EVERY_MS = 60_000;
