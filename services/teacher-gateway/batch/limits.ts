/** Bounds of batches, each with its reason. */

/** What OpenAI takes in one file: https://platform.openai.com/docs/guides/batch */
export const MAX_FILE_REQUESTS = 50_000;
/** Half of OpenAI's 200 MB, because a file is held in memory a few times over while it is sent. */
export const MAX_FILE_BYTES = 100_000_000;
/** The largest file over a slow line. */
export const UPLOAD_TIMEOUT_MS = 600_000;

/** Batches take minutes to a day: soon enough for the short ones, a few hundred requests for the long. */
export const MIN_POLL_MS = 10_000;
export const POLL_GROWTH = 1.5;
export const MAX_POLL_MS = 300_000;
/** Looks for a batch that may have been made while its reply was lost: lists can be behind what was just made. */
export const LOOKS_FOR_BATCH = 3;

/** Pairs, and characters of them, in one ImportPairs; what the pair store takes, and gRPC's 16 MiB hold with one largest pair on top. */
export const IMPORT_PAIRS = 500;
export const IMPORT_CHARACTERS = 2 * 1024 * 1024;
/** A sample of a large population is read whole before its first prompt is known. */
export const SAMPLE_TIMEOUT_MS = 3_600_000;
