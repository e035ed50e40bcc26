/** Who signed a student and the reports on it. */
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { Key } from '@understudy/service/signatures/keys';
import { expectSigned, type Statement } from '@understudy/service/signatures/statements';
import { type Description, reportStatement, studentStatement, type Trusted } from '@understudy/student';
import type { Report } from './reports.ts';
import { type Step, take } from './steps.ts';

/** That one of the trusted keys signed the student for its task. */
export const takeStudentSignature = (
  blobs: BlobStore,
  { students }: Trusted,
  studentDigest: string,
  { lineage: { task } }: Description,
): Promise<Step[]> =>
  takeSignature(blobs, students, studentStatement({ studentDigest, task: task.name, taskDigest: task.digest }));

/** That one of the trusted keys signed the report with its verdict. */
export const takeReportSignature = (blobs: BlobStore, { reports }: Trusted, report: Report): Promise<Step[]> => {
  const { digest: reportDigest, task, taskDigest, runId, student, policy, verdict } = report;
  const digests = { reportDigest, studentDigest: student.digest, policyDigest: policy?.digest ?? '' };
  return takeSignature(blobs, reports, reportStatement({ task, taskDigest, runId, ...digests }, verdict.passed));
};

async function takeSignature(
  blobs: BlobStore,
  keys: readonly Key[] | undefined,
  statement: Statement,
): Promise<Step[]> {
  if (!keys) return [];
  const { step } = await take('signature', statement.digest, async () => {
    const id = await expectSigned(blobs, keys, statement);
    return { says: `${statement.kind}: signed by the trusted key ${id?.slice(0, 12)}`, found: true };
  });
  return [step];
}
