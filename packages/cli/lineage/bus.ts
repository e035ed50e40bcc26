/** What only the running platform knows: who wrote a report, what became of its run, what was decided, what serves. */
import { status } from '@grpc/grpc-js';
import { Verdict } from '@understudy/contract';
import type { Decision, Deployment } from '@understudy/contract/deployer';
import type { RunState } from '@understudy/contract/prompt';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { RpcError } from '@understudy/service/rpc/status';
import { sha256Hex } from '@understudy/task';
import type { Connection } from '../connect.ts';
import { moment, oneLine } from '../format.ts';
import { type Report, reportsAbout } from './reports.ts';
import { expectSame, Mismatch, type Taken, take } from './steps.ts';

export type Platform = Pick<Connection, 'prompt' | 'evaluator' | 'deployer'>;

/** What names a student among deployments and decisions, with the report that it stands on. */
interface Placed {
  taskDigest: string;
  studentDigest: string;
  policyDigest: string;
  reportDigest: string;
  runId: string;
}

/** Actions that nothing but a passed report allows. */
const FORWARD: ReadonlySet<string> = new Set(['promoted', 'staged', 'stepped', 'live']);

/** Actions that tell what was seen of the student that serves, and move nothing. */
const NOTICES: ReadonlySet<string> = new Set(['drift', 'shift', 'pairs']);

/** Digests of the reports on a student that evaluator, decisions or deployment name. */
export async function namedReports(
  platform: Platform,
  blobs: BlobStore,
  task: string,
  student: string,
): Promise<string[]> {
  const { deployer } = platform;
  const written = await writtenReports(platform, blobs, task, student);
  const decided = (await decisionsOf(deployer, task)).flatMap((one) => [
    ...(one.studentDigest === student ? [one.reportDigest] : []),
    ...(aboutOf(one).student === student ? [aboutOf(one).report] : []),
  ]);
  const placed = placesOf(await deploymentOf(deployer, task), student).map(({ reportDigest }) => reportDigest);
  return [...new Set([...written, ...decided, ...placed])].filter((digest) => digest !== '');
}

/** As the evaluator lists them; where one that it wrote is damaged it cannot, and they are looked for in the blob store. */
async function writtenReports(
  { evaluator }: Platform,
  blobs: BlobStore,
  task: string,
  student: string,
): Promise<string[]> {
  try {
    const { reports } = await evaluator.listReports({ task });
    return reports.flatMap(({ summary }) => (summary?.studentDigest === student ? [summary.reportDigest] : []));
  } catch (error) {
    if (error instanceof RpcError) return reportsAbout(blobs, student);
    throw error;
  }
}

/** All but refusals: those repeat what somebody claimed. */
async function decisionsOf(deployer: Platform['deployer'], task: string): Promise<Decision[]> {
  const { decisions } = await deployer.listDecisions({ task });
  return decisions.filter(({ action }) => action !== 'refused');
}

/** Decisions of before they named the student that they are about are about the one that served afterwards. */
const aboutOf = (one: Decision) => ({
  student: one.aboutStudentDigest || one.studentDigest,
  report: one.aboutReportDigest || one.reportDigest,
});

/** The evaluator's own word for a report, and what prompt knows of its run. */
export const takeRun = ({ prompt, evaluator }: Platform, report: Report): Promise<Taken<true>> =>
  take('run', undefined, async () => {
    const what = `run ${report.runId}`;
    const { run } = await prompt.getRun({ runId: report.runId });
    if (!run) throw new Mismatch(`${what}: prompt gave none`);
    const { task, taskDigest } = report;
    expectSame(what, { task, taskDigest }, run);
    const { reportJson, passed } = await evaluator.getReport({ reportDigest: report.digest });
    const told = { reportDigest: sha256Hex(reportJson), passed };
    expectSame("the evaluator's report", { reportDigest: report.digest, passed: report.verdict.passed }, told);
    expectEnded(what, run, report);
    return {
      says: `${report.runId}, begun at ${moment(run.startedAt)}: ${oneLine(run.reason || 'under way')}`,
      found: true,
    };
  });

/** Only the report that a run was promoted by is its last one: others may have failed before it, or have come when its time was over. */
function expectEnded(what: string, { evaluation, verdict }: RunState, report: Report): void {
  if (!evaluation) return;
  if (evaluation.reportDigest === report.digest) {
    const expected = { studentDigest: report.student.digest, snapshotDigest: report.snapshot.digest };
    expectSame(what, expected, { ...evaluation });
  } else if (report.verdict.passed && (verdict === Verdict.PROMOTED || verdict === Verdict.PROVEN)) {
    throw new Mismatch(`${what} ended with the report ${evaluation.reportDigest}, not with this one`);
  }
}

/** Every decision about the student: made on a report that fits it, forward only on one that passed. */
export const takeApproval = (
  { deployer }: Platform,
  task: string,
  student: string,
  reports: readonly Report[],
): Promise<Taken<readonly Decision[]>> =>
  take('approval', undefined, async () => {
    const decisions = await decisionsOf(deployer, task);
    for (const one of decisions) {
      if (one.studentDigest === student && !NOTICES.has(one.action)) expectPlaced(`decision ${one.id}`, one, reports);
      if (one.challenger?.studentDigest === student) expectPlaced(`decision ${one.id}`, one.challenger, reports);
    }
    const about = decisions.filter((one) => aboutOf(one).student === student);
    for (const one of about) {
      const passed = reports.find(({ digest }) => digest === aboutOf(one).report)?.verdict.passed;
      if (FORWARD.has(one.action) && !passed) {
        throw new Mismatch(`decision ${one.id}: ${one.action} without a report that passed`);
      }
    }
    const says = about.map(({ action, author, at }) => `${action} by ${author} at ${moment(at)}`);
    if (says.length === 0) return { state: 'absent', says: 'nothing was decided about it', found: decisions };
    return { says: says.join('; '), found: decisions };
  });

/** Where the student is now: on its report and policy, and by a decision that says the same. */
export const takeDeployment = (
  { deployer }: Platform,
  task: string,
  student: string,
  reports: readonly Report[],
  decisions: readonly Decision[],
): Promise<Taken<true>> =>
  take('deployment', undefined, async () => {
    const deployment = await deploymentOf(deployer, task);
    const places = placesOf(deployment, student);
    for (const place of places) expectPlaced('the deployment', place, reports);
    if (!deployment || places.length === 0) return { state: 'absent', says: 'it does not serve now', found: true };
    expectDecided(deployment, decisions);
    const { studentDigest, challenger, generation } = deployment;
    const serves = studentDigest === student ? 'serves' : undefined;
    const comes = challenger?.studentDigest === student ? 'is on its way' : undefined;
    return { says: `${serves ?? comes ?? 'served before'}, generation ${generation}`, found: true };
  });

const placesOf = (deployment: Deployment | undefined, student: string): Placed[] =>
  [deployment, deployment?.challenger, deployment?.previous].flatMap((place) =>
    place?.studentDigest === student ? [place] : [],
  );

function expectPlaced(
  what: string,
  { reportDigest, taskDigest, policyDigest, runId }: Placed,
  reports: readonly Report[],
): void {
  const report = reports.find(({ digest }) => digest === reportDigest);
  if (!report) throw new Mismatch(`${what} stands on the report ${reportDigest}, which does not fit this student`);
  expectSame(
    what,
    { taskDigest: report.taskDigest, policyDigest: report.policy?.digest, runId: report.runId },
    { taskDigest, policyDigest, runId },
  );
  if (!report.verdict.passed) throw new Mismatch(`${what} stands on the report ${reportDigest}, which failed`);
}

/** The newest generation is in the audit log, as it is. Generations of before moves were kept are not. */
function expectDecided({ generation, move, ...deployment }: Deployment, decisions: readonly Decision[]): void {
  if (!move) return;
  const decision = decisions.find(({ id }) => id === `move-${generation}`);
  if (!decision) throw new Mismatch(`the audit log has no decision that led to generation ${generation}`);
  const { studentDigest, policyDigest, reportDigest, runId, taskDigest } = deployment;
  const serving = { studentDigest, policyDigest, reportDigest, runId, taskDigest };
  expectSame(`decision ${decision.id}`, { ...serving, action: move.action, author: move.author }, { ...decision });
}

async function deploymentOf(deployer: Platform['deployer'], task: string): Promise<Deployment | undefined> {
  try {
    return (await deployer.getDeployment({ task })).deployment;
  } catch (error) {
    if (error instanceof RpcError && error.code === status.NOT_FOUND) return undefined;
    throw error;
  }
}
