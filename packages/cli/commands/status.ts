/** `status`: what runs, what serves, and how the last runs ended. */
import { toJson } from '@bufbuild/protobuf';
import {
  type Deployment,
  DeploymentSchema,
  type GetWatchResponse,
  GetWatchResponseSchema,
  Stage,
} from '@understudy/contract/deployer';
import { RunStage, type RunState, RunStateSchema } from '@understudy/contract/prompt';
import { type TeacherState, TeacherStateSchema } from '@understudy/contract/teacher-gateway';
import { connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { count, milliseconds, moment, oneLine, percent, verdictWords } from '../format.ts';
import { type Output, table } from '../output.ts';
import { stageLine } from '../run-progress.ts';
import { evidenceLine } from './deployments.ts';

const probeTimeoutMs = 1_000;
const shownRuns = 10;

export const status = async (output: Output): Promise<void> => {
  using connection = connect();
  const { run } = connection;
  const services = await Promise.all(
    Object.entries(run.metrics).map(async ([name, url]) => ({ name, ready: await isReady(url) })),
  );
  if (services.length > 0 && services.every(({ ready }) => !ready)) {
    throw new ExitError(exitCodes.notRunning, 'no service answers: the platform was stopped; start it with npm run up');
  }
  const { runs } = await connection.prompt.listRuns({});
  const { tasks } = await connection.prompt.listTasks({});
  const { deployments } = await connection.deployer.listDeployments({});
  const watches = await Promise.all(deployments.map(({ task }) => connection.deployer.getWatch({ task })));
  const { teachers } = await connection.teacherGateway.listTeachers({});
  const away = teachers.filter(({ open, waitMs }) => open || waitMs > 0n);
  const answer = {
    httpUrl: run.httpUrl,
    natsUrl: run.natsUrl,
    services,
    tasks,
    deployments: deployments.map((deployment) => toJson(DeploymentSchema, deployment)),
    watches: watches.map((watch) => toJson(GetWatchResponseSchema, watch)),
    teachersAway: away.map((one) => toJson(TeacherStateSchema, one)),
    runs: runs.map((state) => toJson(RunStateSchema, state)),
  };
  output.answer(answer, () => [
    `clients: ${run.httpUrl}`,
    `bus:     ${run.natsUrl}`,
    ...(services.length === 0 ? [] : ['', ...serviceTable(services)]),
    '',
    ...(tasks.length === 0 ? ['no task is applied yet: understudy apply FILE'] : taskTable(tasks, deployments)),
    ...(watches.length === 0 ? [] : ['', ...watchTable(watches)]),
    ...(away.length === 0 ? [] : ['', ...awayTable(away)]),
    ...(runs.length === 0 ? [] : ['', ...runTable(runs)]),
  ]);
};

const serviceTable = (services: readonly { name: string; ready: boolean }[]): string[] =>
  table([['service', 'state'], ...services.map(({ name, ready }) => [name, ready ? 'ready' : 'not ready'])]);

const isReady = async (metricsUrl: string): Promise<boolean> => {
  try {
    const signal = AbortSignal.timeout(probeTimeoutMs);
    return (await fetch(new URL('/readyz', metricsUrl), { signal })).ok;
  } catch {
    return false; // Nobody listens, or not in time: that is the answer.
  }
};

const taskTable = (tasks: readonly string[], deployments: readonly Deployment[]): string[] =>
  table([
    ['task', 'answered by', 'generation', 'since'],
    ...tasks.map((task) => {
      const deployment = deployments.find((one) => one.task === task);
      const student = deployment?.studentDigest ? `student ${deployment.studentDigest.slice(0, 12)}` : 'the teacher';
      return [task, student, String(deployment?.generation ?? 0n), moment(deployment?.since)];
    }),
  ]);

/** Each student that is looked after, and what its checked answers say. */
const watchTable = (watches: readonly GetWatchResponse[]): string[] =>
  table([
    ['task', 'student', 'stage', 'share', 'agreement with the teacher in live traffic', 'goal'],
    ...watches.flatMap(({ deployment, evidence }) =>
      evidence.map((found) => {
        const challenger = deployment?.challenger?.generation === found.generation ? deployment.challenger : undefined;
        const stage = challenger ? Stage[challenger.stage].toLowerCase() : 'live';
        const share = challenger?.share ?? 1 - (deployment?.challenger?.share ?? 0);
        const audited = challenger || (deployment?.auditShare ?? 0) > 0;
        return [
          deployment?.task ?? '',
          found.studentDigest.slice(0, 12),
          stage,
          percent(share),
          audited ? evidenceLine(found) : 'not checked (live.audit)',
          percent(found.goal),
        ];
      }),
    ),
  ]);

const awayTable = (away: readonly TeacherState[]): string[] =>
  table([
    ['teacher that is not asked', 'for', 'again in', 'because'],
    ...away.map(({ teacher, awayMs, waitMs, detail }) => [
      teacher,
      milliseconds(Number(awayMs)),
      milliseconds(Number(waitMs)),
      oneLine(detail),
    ]),
  ]);

const runTable = (runs: readonly RunState[]): string[] =>
  table([
    ['run', 'task', 'started', 'answers', 'state'],
    ...runs
      .toSorted((a, b) => Number((b.startedAt?.seconds ?? 0n) - (a.startedAt?.seconds ?? 0n)))
      .slice(0, shownRuns)
      .map((run) => [run.runId, run.task, moment(run.startedAt), count(run.answered), stateOf(run)]),
  ]);

const stateOf = (run: RunState): string => {
  if (run.stage !== RunStage.FINISHED) return stageLine(run.stage, run);
  const verdict = verdictWords(run.verdict);
  return run.reason === '' ? verdict : oneLine(`${verdict}: ${run.reason}`);
};
