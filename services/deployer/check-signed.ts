import { TerminalError } from '@understudy/service/errors';
import { SignatureError } from '@understudy/service/signatures/dsse';
import { expectSigned } from '@understudy/service/signatures/statements';
import { reportStatement, studentStatement } from '@understudy/student';
import type { DeployerContext } from './context.ts';
import type { Candidate } from './moves.ts';

/**
 * Makes sure that a trusted trainer signed the student and a trusted evaluator the report that proves it, each as far as keys are configured.
 * @throws TerminalError saying which signature does not hold, and why
 */
export async function checkSigned({ blobs, trusted }: DeployerContext, candidate: Candidate): Promise<void> {
  try {
    await expectSigned(blobs, trusted.students, studentStatement(candidate));
    await expectSigned(blobs, trusted.reports, reportStatement(candidate, true));
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error;
    throw new TerminalError(error.message, { cause: error });
  }
}
