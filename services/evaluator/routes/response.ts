import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetReportResponseSchema } from '@understudy/contract/evaluator';
import { summaryOf } from '../report.ts';
import type { KeptReport } from '../report-index.ts';

/** A report as it travels over RPC. */
export function responseOf({ report, json, digest, sequence }: KeptReport) {
  return {
    reportJson: json,
    passed: report.verdict.passed,
    task: report.task,
    taskDigest: report.taskDigest,
    runId: report.runId,
    summary: summaryOf(report, digest),
    sequence: BigInt(sequence),
  } satisfies MessageInitShape<typeof GetReportResponseSchema>;
}
