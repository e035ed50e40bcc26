/** Bounds of reading a source. */

/** A record's canonical input is at most 256 KiB; four times that leaves room for JSON escapes and unused fields. */
export const MAX_LINE_BYTES = 1024 * 1024;
/** One file of a folder: mail with attachments is large, although little of it is read. */
export const MAX_FILE_BYTES = 32 * 1024 * 1024;
/** A U+0000 this early marks a binary file; text editors and git look as far. */
export const BINARY_PROBE_BYTES = 8 * 1024;
/** File names of a folder are held in memory to sort them. */
export const MAX_FOLDER_FILES = 2_000_000;
/** MIME parts within parts; forwarded mail nests a few, hostile mail thousands. */
export const MAX_EMAIL_DEPTH = 64;
/** Real headers stay under 64 KiB; past this the file is no mail. */
export const MAX_EMAIL_HEADER_BYTES = 1024 * 1024;
/** HTML past this is cut: a task reads the beginning, and hostile nesting costs time with its square, about 2 s at this size. */
export const MAX_HTML_CHARACTERS = 256 * 1024;
/** Elements within elements; deeper ones are left out, so that no recursion runs out of stack. */
export const MAX_HTML_DEPTH = 200;
/** The footer of a Parquet file lists its columns and row groups; thousands of both stay far below. */
export const MAX_PARQUET_FOOTER_BYTES = 64 * 1024 * 1024;
/** Columns of a row group that are read lie in memory decoded; writers aim at a quarter of this for all columns together. */
export const MAX_ROW_GROUP_BYTES = 512 * 1024 * 1024;
/** A call with its response repeats the prompt and the examples around an input. */
export const MAX_LOG_LINE_BYTES = 8 * 1024 * 1024;
