import type { GetReportRequest } from '@understudy/contract/evaluator';
import { notFound } from '@understudy/service/rpc/status';
import type { EvaluatorContext } from '../context.ts';
import { responseOf } from './response.ts';

export async function getReport(context: EvaluatorContext, { reportDigest }: GetReportRequest) {
  const kept = await context.reports.byDigest(reportDigest);
  if (kept === undefined) throw notFound(`this evaluator wrote no report ${JSON.stringify(reportDigest)}`);
  return responseOf(kept);
}
