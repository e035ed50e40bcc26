import { Split } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import { keepSigned } from '@understudy/service/signatures/statements';
import { type Span, traceparentOf } from '@understudy/service/telemetry';
import { reportStatement } from '@understudy/student';
import { measureCeiling } from './ceiling.ts';
import type { EvaluatorContext } from './context.ts';
import { evaluate } from './evaluate.ts';
import { type Incumbent, loadIncumbent } from './incumbent.ts';
import { readPairs } from './pairs.ts';
import { type Report, summaryOf } from './report.ts';
import type { KeptReport } from './report-index.ts';
import { loadStudent, loadTask } from './student.ts';
import { readSuspects } from './suspects.ts';
import { trainTexts } from './train-texts.ts';
import { type Turn, turnOf } from './turn.ts';

/**
 * Judges a student and tells the verdict. A turn that has a report keeps it: its verdict is told again, nothing is
 * measured again. A cancelled run is not judged, and no verdict of it is told:
 * nothing of it shall be promoted.
 */
export async function onStudentTrained(context: EvaluatorContext, event: Event<'student.trained'>): Promise<void> {
  const turn = turnOf(event.payload);
  if (context.cancelled.has(turn.runId)) return context.journal.dropped(turn);
  const attributes = { 'understudy.run_id': turn.runId, 'understudy.task': turn.task };
  await context.telemetry.span('evaluate', event.traceparent, attributes, async (span) => {
    const kept = (await context.reports.ofTurn(turn)) ?? (await judge(context, turn, event.signal, span));
    if (kept && !context.cancelled.has(turn.runId)) await tell(context, turn, kept, span);
  });
}

/** Undefined when the run was cancelled meanwhile: before the look at test, so that none is spent on it. */
async function judge(
  context: EvaluatorContext,
  turn: Turn,
  signal: AbortSignal,
  span: Span,
): Promise<KeptReport | undefined> {
  const { blobs, looks, pairStore, reports, cancelled, journal } = context;
  const task = await loadTask(blobs, turn);
  const student = await loadStudent(blobs, turn, task);
  let incumbent: Incumbent | undefined;
  let report: Report;
  try {
    incumbent = await loadIncumbent(context, turn, task);
    const asked = { pairStore, task, turn, traceparent: traceparentOf(span), signal };
    const dev = await readPairs({ ...asked, split: Split.DEV });
    const test = await readPairs({ ...asked, split: Split.TEST });
    if (cancelled.has(turn.runId)) {
      journal.dropped(turn);
      return undefined;
    }
    const ceiling = async () => {
      const { teacher } = context;
      if (teacher)
        return await measureCeiling({ teacher, blobs, task, turn, dev, traceparent: asked.traceparent, signal });
      if (task.task.goal.ceilingSample === 0) return null;
      throw new TerminalError(
        'goal.ceilingSample has the teacher asked again: set TEACHER_GATEWAY_ADDRESS of the evaluator',
      );
    };
    const suspects = await readSuspects(asked, blobs);
    const train = trainTexts({ ...asked, snapshotDigest: turn.snapshot.digest });
    report = await evaluate({
      turn,
      task,
      student,
      dev,
      test,
      trainTexts: train,
      ceiling,
      suspects,
      incumbent,
      looks,
      blobs,
    });
  } finally {
    await student.release();
    await incumbent?.student.release();
  }
  const kept = await reports.keep(turn, report);
  journal.judged(turn, kept);
  return kept;
}

async function tell(context: EvaluatorContext, turn: Turn, kept: KeptReport, span: Span): Promise<void> {
  const { runId, task, taskDigest, seal } = turn;
  const { passed, reason, morePairs, notDistillable = false } = kept.report.verdict;
  await keepSigned(context.blobs, context.signingKey, statementOf(kept));
  const payload = { runId, task, taskDigest, seal, summary: summaryOf(kept.report, kept.digest) };
  const about = { entity: kept.digest, traceparent: traceparentOf(span) };
  if (passed) await context.publisher.publish({ type: 'eval.passed', payload, ...about });
  else {
    const failed = { ...payload, reason, morePairs, notDistillable };
    await context.publisher.publish({ type: 'eval.failed', payload: failed, ...about });
  }
  context.journal.told(turn, kept);
}

function statementOf({ report, digest: reportDigest }: KeptReport) {
  const { task, taskDigest, runId, student, policy, verdict } = report;
  const digests = { reportDigest, studentDigest: student.digest, policyDigest: policy?.digest ?? '' };
  return reportStatement({ task, taskDigest, runId, ...digests }, verdict.passed);
}
