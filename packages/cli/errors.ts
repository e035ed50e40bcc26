import { status } from '@grpc/grpc-js';
import { messageOf, RetryableError, StartupError } from '@understudy/service/errors';
import { RpcError } from '@understudy/service/rpc/status';
import { TaskError } from '@understudy/task';

/** What a shell learns of the end of a command. Documented in `understudy --help`. */
export const exitCodes = {
  done: 0,
  failed: 1,
  badInput: 2,
  notPromoted: 3,
  notRunning: 4,
  interrupted: 130,
} as const;

/** An end with a code and one message for the person at the terminal. */
export class ExitError extends Error {
  override name = 'ExitError';
  readonly code: number;
  constructor(code: number, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}

/** What a thrown error means for the exit code. */
export const exitCodeOf = (error: unknown): number => {
  if (error instanceof ExitError) return error.code;
  if (error instanceof TaskError || error instanceof StartupError) return exitCodes.badInput;
  if (error instanceof RetryableError) return exitCodes.notRunning;
  if (error instanceof RpcError) return rpcExitCode(error);
  return exitCodes.failed;
};

const rpcExitCode = ({ code }: RpcError): number => {
  const input = [status.INVALID_ARGUMENT, status.NOT_FOUND, status.FAILED_PRECONDITION, status.ALREADY_EXISTS];
  return input.includes(code) ? exitCodes.badInput : exitCodes.failed;
};

/** The words for an error; a stack only for what nobody foresaw. All but StartupError say it all in their own message. */
export const wordsOf = (error: unknown): string => {
  const foreseen = [ExitError, RetryableError, RpcError, TaskError].some((kind) => error instanceof kind);
  if (foreseen && error instanceof Error) return error.message;
  if (error instanceof StartupError || !(error instanceof Error)) return messageOf(error);
  return error.stack ?? messageOf(error);
};
