/** Bounds of the deployer, each with its reason. */

/**
 * Deliveries of an `eval.passed` before a report that the evaluator does not know is taken for a forgery: a replica of its
 * index may be a moment behind the evaluator that wrote the report.
 */
export const DELIVERIES_BEFORE_FORGED = 3;
export const UNKNOWN_REPORT_RETRY_MS = 300;
/** Promotions under way at once: each holds one bundle in memory. */
export const CONCURRENT_PROMOTIONS = 2;
