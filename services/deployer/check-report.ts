import { equals } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { type EvalPassed, type EvalSummary, EvalSummarySchema } from '@understudy/contract';
import type { EvaluatorService, GetReportResponse } from '@understudy/contract/evaluator';
import type { Event } from '@understudy/service/bus/settle';
import { RetryableError, TerminalError } from '@understudy/service/errors';
import type { RpcClient } from '@understudy/service/rpc/client';
import { RpcError } from '@understudy/service/rpc/status';
import { sha256Hex } from '@understudy/task';
import { DELIVERIES_BEFORE_FORGED, UNKNOWN_REPORT_RETRY_MS } from './limits.ts';
import type { Candidate } from './moves.ts';

/**
 * What the evaluator itself says of the report that an event names. The event is only a hint: anyone on the bus could have
 * sent it.
 * @throws TerminalError when the evaluator wrote no such report, or the report says something else than the event
 * @throws RetryableError while the evaluator cannot be asked
 */
export async function provenBy(
  evaluator: RpcClient<typeof EvaluatorService>,
  event: Event<'eval.passed'>,
): Promise<{ candidate: Candidate; snapshotDigest: string }> {
  const { summary } = event.payload;
  if (!summary) throw new TerminalError('eval.passed: summary: expected the summary of a report, came nothing');
  const report = await reportOf(evaluator, summary.reportDigest, event);
  checkAgreement(event.payload, summary, report);
  const { task, taskDigest, runId, sequence } = report;
  const { studentDigest, policyDigest, reportDigest, snapshotDigest } = summary;
  return {
    candidate: { task, taskDigest, runId, studentDigest, policyDigest, reportDigest, sequence },
    snapshotDigest,
  };
}

async function reportOf(
  evaluator: RpcClient<typeof EvaluatorService>,
  reportDigest: string,
  { deliveries, traceparent }: Event,
): Promise<GetReportResponse> {
  try {
    return await evaluator.getReport({ reportDigest }, { traceparent });
  } catch (error) {
    if (!(error instanceof RpcError) || error.code !== status.NOT_FOUND) throw error;
    if (deliveries < DELIVERIES_BEFORE_FORGED) {
      throw new RetryableError(error.message, { afterMs: UNKNOWN_REPORT_RETRY_MS, cause: error });
    }
    throw new TerminalError(
      `the evaluator knows nothing of the report ${JSON.stringify(reportDigest)}, so nothing moves`,
      { cause: error },
    );
  }
}

function checkAgreement(event: EvalPassed, told: EvalSummary, report: GetReportResponse): void {
  const where = `report ${told.reportDigest}`;
  if (sha256Hex(report.reportJson) !== told.reportDigest) {
    throw new TerminalError(`${where}: what the evaluator sent has another digest`);
  }
  if (!report.passed) throw new TerminalError(`${where} says that the student failed, but eval.passed came`);
  for (const field of ['task', 'taskDigest', 'runId'] as const) {
    if (event[field] !== report[field]) {
      throw new TerminalError(`${where} is of ${field} ${report[field]}, but eval.passed says ${event[field]}`);
    }
  }
  if (!report.summary || !equals(EvalSummarySchema, told, report.summary)) {
    const differs = Object.keys(told).filter((key) => key in told && !sameField(told, report.summary, key));
    throw new TerminalError(`${where} and eval.passed differ in ${differs.join(', ') || 'their summaries'}`);
  }
}

const sameField = (told: EvalSummary, written: EvalSummary | undefined, key: string): boolean =>
  told[key as keyof EvalSummary] === written?.[key as keyof EvalSummary];
