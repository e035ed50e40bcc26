/** Bounds that several parts of the ledger share. */

/** A permission to begin a call is void after this, so that those handed out at one time are used at about that time. */
export const STARTS_VALID_MS = 2_000;
