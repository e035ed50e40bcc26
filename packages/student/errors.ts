/** Why a bundle was not opened. */
export type BundleErrorCode =
  | 'truncated'
  | 'malformed'
  | 'too-large'
  | 'unsafe-path'
  | 'digest-mismatch'
  | 'external-data'
  | 'unknown-operator'
  | 'unsupported';

/** A bundle that must not be loaded: damaged, forged, or made by a newer version. The same bytes never get better. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
  readonly code: BundleErrorCode;

  constructor(code: BundleErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.code = code;
  }
}

/** Why no student can be trained from the examples that were given. */
export type TrainingErrorCode =
  | 'no-examples'
  | 'one-label'
  | 'bad-example'
  | 'too-large'
  | 'diverged'
  | 'bad-settings'
  | 'bad-encoder'
  | 'unsupported';

/** A training that would end the same way if it were tried again. */
export class TrainingError extends Error {
  override readonly name = 'TrainingError';
  readonly code: TrainingErrorCode;

  constructor(code: TrainingErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.code = code;
  }
}

/** Tokenizer files that hold no tokenizer that this version can run. */
export class TokenizerError extends Error {
  override readonly name = 'TokenizerError';
}

/** A checkpoint that cannot be continued from; the training starts over. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
}
