/** What a handler may throw. Anything else is taken for a passing fault and retried. */

/** Try again, no sooner than after the given time. */
export class RetryableError extends Error {
  override name = 'RetryableError';
  readonly afterMs: number;
  constructor(message: string, options: { afterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.afterMs = options.afterMs ?? DEFAULT_RETRY_AFTER_MS;
  }
}

/** Trying again cannot help: the message becomes a dead letter with this reason. */
export class TerminalError extends Error {
  override name = 'TerminalError';
}

/** Configuration, environment or machine is not fit to start; printed without a stack, exit code 2. */
export class StartupError extends Error {
  override name = 'StartupError';
}

/** Long enough for a restarting neighbour to come back, short enough not to be noticed. */
export const DEFAULT_RETRY_AFTER_MS = 1_000;

/** Turns whatever was thrown into one of the two endings, once, at the boundary. */
export const handlerErrorFrom = (thrown: unknown): RetryableError | TerminalError => {
  if (thrown instanceof RetryableError || thrown instanceof TerminalError) return thrown;
  return new RetryableError(messageOf(thrown), { cause: thrown });
};

/** The message of an error and of its causes, on one line. */
export const messageOf = (thrown: unknown): string => {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause === undefined ? '' : `: ${messageOf(thrown.cause)}`;
  return `${thrown.message || thrown.name}${cause}`;
};
