/** The evaluator's reports on a student, and the policies that they gave it. */
import { BlobError, type BlobStore } from '@understudy/service/blobs/blob-store';
import { type Description, parsePolicy } from '@understudy/student';
import { z } from 'zod';
import type { Manifest } from './snapshot.ts';
import { expectSame, Mismatch, parsedAs, type Taken, take } from './steps.ts';

const Report = z.object({
  version: z.literal(1),
  task: z.string(),
  taskDigest: z.string(),
  runId: z.string(),
  snapshot: z.object({
    digest: z.string(),
    fingerprint: z.string(),
    trainPairs: z.int(),
    devPairs: z.int(),
    testPairs: z.int(),
  }),
  student: z.object({ digest: z.string() }),
  /** Null where it did not come to one. */
  policy: z.object({ digest: z.string() }).nullable(),
  verdict: z.object({ passed: z.boolean(), reason: z.string() }),
  evaluatedAt: z.string(),
});
export type Report = z.infer<typeof Report> & { readonly digest: string };

/** What a report is about. */
export interface Judged {
  readonly digest: string;
  readonly description: Description;
  /** Undefined where the snapshot does not fit. */
  readonly manifest: Manifest | undefined;
}

/** Reports in the blob store that name this student: the only way to them while the evaluator is away. A damaged one may be of it as well. */
export async function reportsAbout(blobs: BlobStore, student: string): Promise<string[]> {
  const found: string[] = [];
  for await (const digest of blobs.list('reports', '')) {
    if (await mayBeAbout(blobs, digest, student)) found.push(digest);
  }
  return found.toSorted();
}

async function mayBeAbout(blobs: BlobStore, digest: string, student: string): Promise<boolean> {
  try {
    return (
      Report.safeParse(JSON.parse(new TextDecoder().decode(await blobs.get('reports', digest)))).data?.student
        .digest === student
    );
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    if (error instanceof BlobError && error.code === 'corrupt') return true;
    throw error;
  }
}

/** A report by its digest: of this student's task, version, snapshot and pairs. */
export const takeReport = (blobs: BlobStore, digest: string, judged: Judged): Promise<Taken<Report>> =>
  take('report', digest, async () => {
    const report = parsedAs(Report, await blobs.get('reports', digest), `reports/${digest}`);
    const { task, snapshotDigest, fingerprint } = judged.description.lineage;
    const expected = {
      student: judged.digest,
      task: task.name,
      taskDigest: task.digest,
      snapshot: snapshotDigest,
      fingerprint,
    };
    const { snapshot, student } = report;
    const came = { ...report, student: student.digest, snapshot: snapshot.digest, fingerprint: snapshot.fingerprint };
    expectSame('the report', expected, came);
    if (judged.manifest) {
      const { train, dev, test } = judged.manifest.splits;
      expectSame('the report', { trainPairs: train, devPairs: dev, testPairs: test }, snapshot);
    }
    const { passed, reason } = report.verdict;
    return {
      says: `${passed ? 'passed' : 'failed'} at ${report.evaluatedAt}: ${reason}`,
      found: { ...report, digest },
    };
  });

/** The policy of a report: made for this student. */
export const takePolicy = (blobs: BlobStore, policyDigest: string, student: string): Promise<Taken<true>> =>
  take('policy', policyDigest, async () => {
    const json = new TextDecoder().decode(await blobs.get('policies', policyDigest));
    const { studentDigest, threshold } = policyOf(json, policyDigest);
    expectSame('the policy', { studentDigest: student }, { studentDigest });
    return { says: `answers from a confidence of ${threshold.toFixed(3)} on`, found: true };
  });

function policyOf(json: string, digest: string): ReturnType<typeof parsePolicy> {
  try {
    return parsePolicy(json);
  } catch (cause) {
    throw new Mismatch(`policies/${digest} is none that this version knows`, { cause });
  }
}
