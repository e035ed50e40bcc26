/** One thing that is wrong in a task, with where it is and what to do. */
export interface TaskIssue {
  /** Key path inside the task, e.g. `teacher.rate.concurrency` or `examples[3].input`; empty for the task itself. */
  path: string;
  /** What was expected, what came, what to do. */
  message: string;
  /** The file at fault, where it is not the task's own (its examples, say). */
  file?: string;
  /** 1-based line in the file, where the text is known. */
  line?: number;
}

/** A task that cannot be used. `origin` is the file (or "task" for JSON that came over the wire). */
export class TaskError extends Error {
  override readonly name = 'TaskError';
  readonly origin: string;
  readonly issues: readonly TaskIssue[];

  constructor(origin: string, issues: readonly TaskIssue[], options?: ErrorOptions) {
    super(issues.map((issue) => describe(origin, issue)).join('\n'), options);
    this.origin = origin;
    this.issues = issues;
  }
}

function describe(origin: string, issue: TaskIssue): string {
  const file = issue.file ?? origin;
  const place = issue.line === undefined ? file : `${file}:${issue.line}`;
  return issue.path === '' ? `${place}: ${issue.message}` : `${place}: ${issue.path}: ${issue.message}`;
}

export type InputErrorReason = 'not-an-object' | 'missing-field' | 'unknown-field' | 'not-a-string' | 'too-large';

/** An input that does not fit its task. `field` is set where one field is to blame. */
export class InputError extends Error {
  override readonly name = 'InputError';
  readonly reason: InputErrorReason;
  readonly field: string | undefined;

  constructor(reason: InputErrorReason, message: string, field?: string) {
    super(message);
    this.reason = reason;
    this.field = field;
  }
}
