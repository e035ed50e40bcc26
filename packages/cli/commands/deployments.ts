/** `approve`, `reject` and `audit`: a student on its way, and what was decided about those before it. */
import { toJson } from '@bufbuild/protobuf';
import {
  type Decision,
  type Deployment,
  DeploymentSchema,
  type Evidence,
  ListDecisionsResponseSchema,
  Stage,
} from '@understudy/contract/deployer';
import { type Connection, connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { count, moment, oneLine, percent, percentAtLeast } from '../format.ts';
import type { Output } from '../output.ts';

interface Word {
  author: string;
  reason: string;
}

/** Lets the student on its way take its next step now. */
export const approve = (output: Output, taskOrStudent: string, word: Word): Promise<void> =>
  decide(output, taskOrStudent, (connection, about) => connection.deployer.approve({ ...about, ...word }));

/** Sends the student on its way away. */
export const reject = (output: Output, taskOrStudent: string, word: Word): Promise<void> =>
  decide(output, taskOrStudent, (connection, about) => connection.deployer.reject({ ...about, ...word }));

interface About {
  task: string;
  studentDigest: string;
  expectedGeneration: bigint;
}

const decide = async (
  output: Output,
  taskOrStudent: string,
  call: (connection: Connection, about: About) => Promise<{ deployment?: Deployment }>,
): Promise<void> => {
  using connection = connect();
  const { deployment } = await call(connection, await meant(connection, taskOrStudent));
  if (!deployment) throw new ExitError(exitCodes.failed, 'the deployer gave no deployment');
  output.answer(toJson(DeploymentSchema, deployment) as object, () => [
    `${deployment.task}: answered by ${answererOf(deployment)}; ${challengerOf(deployment)} (generation ${deployment.generation})`,
  ]);
};

/** Digests are told apart by their first digits; fewer than these could be a task's name. */
const leastDigits = 8;

/** The deployment as it is seen now: a decision is about that, and about nothing that comes meanwhile. */
const meant = async ({ deployer }: Connection, taskOrStudent: string): Promise<About> => {
  const { deployments } = await deployer.listDeployments({});
  const named = deployments.find(({ task }) => task === taskOrStudent);
  if (named) return { task: named.task, studentDigest: '', expectedGeneration: named.generation };
  const found = deployments.filter(({ challenger }) => challenger?.studentDigest.startsWith(taskOrStudent));
  const [only] = found;
  if (only && found.length === 1 && taskOrStudent.length >= leastDigits) {
    return { task: only.task, studentDigest: taskOrStudent, expectedGeneration: only.generation };
  }
  const expected = `expected a task, or at least ${leastDigits} digits of a student that is on its way`;
  throw new ExitError(exitCodes.badInput, `${expected}, got ${JSON.stringify(taskOrStudent)}`);
};

/** All that was decided about a task's deployment, the oldest first. */
export const audit = async (output: Output, task: string): Promise<void> => {
  using connection = connect();
  const response = await connection.deployer.listDecisions({ task });
  output.answer(toJson(ListDecisionsResponseSchema, response) as object, () =>
    response.decisions.length === 0
      ? [`nothing was decided about ${task} yet`]
      : response.decisions.flatMap((decision) => linesOf(decision)),
  );
};

const linesOf = (decision: Decision): string[] => {
  const { at, action, author, reason, generation, runId, evidence, challenger } = decision;
  const student = decision.aboutStudentDigest || decision.studentDigest;
  const reportDigest = decision.aboutReportDigest || decision.reportDigest;
  const about = [
    generation > 0n ? `generation ${generation}` : '',
    student === '' ? '' : `student ${short(student)}`,
    reportDigest === '' ? '' : `report ${short(reportDigest)}`,
    runId === '' ? '' : `run ${challenger?.runId ?? runId}`,
    evidence ? evidenceLine(evidence) : '',
  ];
  return [
    `${moment(at)}  ${action.padEnd(11)}  ${author}: ${oneLine(reason)}`,
    `${' '.repeat(34)}${about.filter((text) => text !== '').join(', ')}`,
  ];
};

const short = (digest: string): string => digest.slice(0, 12);

/** Who answers a task's clients. */
export const answererOf = ({ studentDigest }: Deployment): string =>
  studentDigest === '' ? 'the teacher' : `student ${short(studentDigest)}`;

/** Who is on the way to take its place, and how far. */
export const challengerOf = ({ challenger }: Deployment): string => {
  if (!challenger) return 'nobody on the way';
  const stage = Stage[challenger.stage].toLowerCase();
  const share = challenger.share > 0 ? ` with ${percent(challenger.share)} of the requests` : '';
  return `student ${short(challenger.studentDigest)} in ${stage}${share}`;
};

/** `97.0% of 1,200 checked, at least 95.1%`. */
export const evidenceLine = ({ checks, agreement, lowerBound }: Evidence): string =>
  checks === 0
    ? 'no answer checked'
    : `${percent(agreement)} of ${count(checks)} checked, at least ${percentAtLeast(lowerBound)}`;
