import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { Trusted } from '@understudy/student';
import { namedReports, type Platform, takeApproval, takeDeployment, takeRun } from './bus.ts';
import { type Judged, type Report, reportsAbout, takePolicy, takeReport } from './reports.ts';
import type { HeldKey } from './rows.ts';
import { takeReportSignature, takeStudentSignature } from './signatures.ts';
import { takeRows, takeSnapshot } from './snapshot.ts';
import { behind, type Step, take } from './steps.ts';
import { takeStudent, takeTask } from './student.ts';

export interface Lineage {
  readonly student: string;
  readonly task: string | undefined;
  /** From the task and its prompts to the deployment. */
  readonly steps: readonly Step[];
}

/**
 * Walks from a student to all that it came from and to all that was made of it, computing every digest again.
 * @param platform undefined while none runs: what only it knows is then unverified
 * @param trusted keys that must have signed student and reports
 * @param idKey what ids of prompts are made with
 */
export async function walk(
  blobs: BlobStore,
  platform: Platform | undefined,
  digest: string,
  trusted: Trusted,
  idKey: HeldKey,
): Promise<Lineage> {
  const student = await takeStudent(blobs, digest);
  const description = student.found;
  if (!description) return { student: digest, task: undefined, steps: [student.step] };
  const task = await takeTask(blobs, description);
  const snapshot = await takeSnapshot(blobs, description);
  const rows = snapshot.found ? await takeRows(snapshot.found, task.found, idKey) : unread();
  const manifest = snapshot.found?.manifest;
  const signed = await takeStudentSignature(blobs, trusted, digest, description);
  const after = await takeVerdicts(blobs, platform, trusted, { digest, description, manifest });
  const steps = [task.step, ...rows, snapshot.step, student.step, ...signed, ...after];
  return { student: digest, task: description.lineage.task.name, steps };
}

const unread = (): Step[] =>
  (['prompt', 'pair', 'split'] as const).map((step) => behind(step, 'the snapshot does not fit'));

async function takeVerdicts(
  blobs: BlobStore,
  platform: Platform | undefined,
  trusted: Trusted,
  judged: Judged,
): Promise<Step[]> {
  const { name } = judged.description.lineage.task;
  const named = await take('report', undefined, async () => ({
    says: '',
    found: platform
      ? await namedReports(platform, blobs, name, judged.digest)
      : await reportsAbout(blobs, judged.digest),
  }));
  if (!named.found) return [named.step];
  const steps: Step[] = [];
  const reports: Report[] = [];
  for (const reportDigest of named.found) {
    const { step, found } = await takeReport(blobs, reportDigest, judged);
    if (found) {
      reports.push(found);
      steps.push(
        platform ? (await takeRun(platform, found)).step : behind('run', `${found.runId}, by the report: ${away}`),
      );
    }
    steps.push(step);
    if (found) steps.push(...(await takeReportSignature(blobs, trusted, found)));
    if (found?.policy) steps.push((await takePolicy(blobs, found.policy.digest, judged.digest)).step);
  }
  if (named.found.length === 0) steps.push({ step: 'report', state: 'absent', says: 'nobody judged it yet' });
  return [...steps, ...(await takeDecisions(platform, name, judged.digest, reports))];
}

const away = 'the platform is away';

async function takeDecisions(
  platform: Platform | undefined,
  task: string,
  student: string,
  reports: readonly Report[],
): Promise<Step[]> {
  if (!platform) return [behind('approval', away), behind('deployment', away)];
  const approval = await takeApproval(platform, task, student, reports);
  if (!approval.found) return [approval.step, behind('deployment', 'the audit log does not fit')];
  return [approval.step, (await takeDeployment(platform, task, student, reports, approval.found)).step];
}

/** The first step that does not fit. */
export const brokenStep = ({ steps }: Lineage): Step | undefined => steps.find(({ state }) => state === 'broken');
