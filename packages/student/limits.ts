/** Limits of students, each with its reason. */

/**
 * Bytes of a text that a student reads; the rest is cut. Far above what a narrow job needs, and low enough that a batch
 * of the longest texts still fits in memory (64 × 4 n-grams × 8 KiB × 4 bytes = 8 MiB of indices).
 */
export const MAX_TEXT_BYTES = 8_192;

/** Tokens of a text that a student with a vocabulary reads, where its tokenizer sets no lower limit: positions are learnt up to here. */
export const MAX_TOKENS = 512;

/** N-grams of all training and dev texts together: they are cached with 2 bytes each, so this is 1 GB. */
export const MAX_CACHED_NGRAMS = 500_000_000;

/** Texts hashed or evaluated in one call of the runtime. */
export const TEXTS_PER_CALL = 64;

/** Labels of one head. More make a report and a table of logits unreadable long before they make training slow. */
export const MAX_LABELS = 1_000;

/** Heads of a student: what an output schema can be compiled to (see packages/task), with room to spare. */
export const MAX_HEADS = 1_000;

/** What frozen encoders gave for texts, kept for the next training: 650,000 texts at 384 numbers. A file that is full takes no more. */
export const MAX_CACHED_FEATURE_BYTES = 1024 ** 3;

/** What a frozen encoder gave for the tokens of all texts, held while heads are trained: 87,000 texts of 16 tokens at 384 numbers. */
export const MAX_STATE_BYTES = 2 * 1024 ** 3;

/** One file of a bundle. The largest student is a small encoder; a model beyond this was not made here. */
export const MAX_BUNDLE_FILE_BYTES = 256 * 1024 * 1024;

/** A whole bundle archive: what a blob store takes. */
export const MAX_BUNDLE_BYTES = 512 * 1024 * 1024;

/** Files of a bundle: there are eight; a few more leave room for later families. */
export const MAX_BUNDLE_FILES = 32;
