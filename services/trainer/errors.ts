/** A candidate that led to no student, which says nothing about the others. */
export class CandidateError extends Error {
  override readonly name = 'CandidateError';
  /** It died, and another try may do better; otherwise it would end the same way. */
  readonly crashed: boolean;

  constructor(message: string, options: { crashed: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.crashed = options.crashed;
  }
}
