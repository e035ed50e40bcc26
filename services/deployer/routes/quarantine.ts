import { create } from '@bufbuild/protobuf';
import { DecisionSchema, type QuarantineRequest } from '@understudy/contract/deployer';
import type { CallContext } from '@understudy/service/rpc/server';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { DeployerContext } from '../context.ts';
import { MAX_AUTHOR_CHARACTERS, MAX_QUARANTINED, MAX_REASON_CHARACTERS } from '../limits.ts';
import { bar, quarantineId } from '../quarantine.ts';
import { checkTaskName } from './task-name.ts';

/**
 * Inputs were forgotten: the audit log says by whom and why, and students that learnt from them serve no more, where the caller says that
 * the task's policy is that. The same again changes nothing.
 */
export async function quarantine(
  context: DeployerContext,
  request: QuarantineRequest,
  { traceparent }: Pick<CallContext, 'traceparent'>,
) {
  const { task, erasureId, inputs, studentDigests, quarantined } = request;
  checkTaskName(task);
  if (!/^[0-9a-f]{16}$/.test(erasureId)) throw invalidArgument('erasure_id: expected 16 hex digits');
  const author = said('author', request.author, MAX_AUTHOR_CHARACTERS);
  const reason = said('reason', request.reason, MAX_REASON_CHARACTERS);
  if (studentDigests.length > MAX_QUARANTINED) {
    throw invalidArgument(`student_digests: expected at most ${MAX_QUARANTINED}, came ${studentDigests.length}`);
  }
  const wrong = studentDigests.find((digest) => !/^[0-9a-f]{64}$/.test(digest));
  if (wrong !== undefined) throw invalidArgument('student_digests: expected 64 hex digits each');
  await context.decisions.keep(
    create(DecisionSchema, {
      ...{ task, id: `forgot-${erasureId}`, action: 'forgot', author },
      reason: `${inputs} inputs, ${studentDigests.length} students learnt from them: ${reason}`,
    }),
  );
  if (!quarantined) return { deployment: await context.deployments.get(task) };
  const why = `it learnt from inputs that are forgotten (erasure ${erasureId}): ${reason}`;
  for (const aboutStudentDigest of studentDigests) {
    const about = { task, id: quarantineId(aboutStudentDigest), action: 'quarantined', author, reason: why };
    await context.decisions.keep(create(DecisionSchema, { ...about, aboutStudentDigest }));
  }
  return { deployment: await bar(context, task, new Set(studentDigests), { author, reason: why }, traceparent) };
}

function said(field: string, text: string, most: number): string {
  const trimmed = text.trim();
  if (trimmed !== '' && trimmed.length <= most) return trimmed;
  throw invalidArgument(`${field}: expected 1 to ${most} characters, got ${trimmed.length}`);
}
