/** The last thing a run prints. */
import { toJson } from '@bufbuild/protobuf';
import { Verdict } from '@understudy/contract';
import { RunStage, type RunState, RunStateSchema } from '@understudy/contract/prompt';
import type { Task } from '@understudy/task';
import type { Connection } from './connect.ts';
import { between, bytes, count, dollars, milliseconds, percent } from './format.ts';
import { type Output, table } from './output.ts';
import { stages } from './run-progress.ts';

/** Prints the verdict with all that led to it, and what to do next. */
export const printReport = async (connection: Connection, run: RunState, task: Task, output: Output): Promise<void> => {
  const reportDigest = run.evaluation?.reportDigest;
  const answer = reportDigest ? await connection.evaluator.getReport({ reportDigest }) : undefined;
  const report: unknown = answer ? JSON.parse(answer.reportJson) : undefined;
  const json = { run: toJson(RunStateSchema, run), report };
  output.answer(json, () => ['', ...reportLines(run, task), ...nextSteps(run, task, connection.run.httpUrl)]);
};

/** The report as lines. */
export const reportLines = (run: RunState, task: Task): string[] => [
  ...table([
    ['verdict', `${Verdict[run.verdict].toLowerCase()}${run.reason === '' ? '' : `: ${run.reason}`}`],
    ...agreementRows(run, task),
    ...studentRows(run),
    ['prompts', promptsText(run)],
    ['spent', `${dollars(run.spentMicroUsd)} for ${count(run.teacherCalls)} calls to the teacher`],
    ['time', timeText(run)],
  ]),
];

const agreementRows = ({ evaluation }: RunState, { goal }: Task): string[][] => {
  if (!evaluation) return [];
  const { selectiveAgreement, selectiveAgreementLowerBound, coverage, coverageLowerBound } = evaluation;
  const confidence = `with ${percent(goal.confidence)} confidence`;
  return [
    [
      'agreement',
      `${percent(selectiveAgreement)} where the student answers; at least ${percent(selectiveAgreementLowerBound)} ${confidence} (goal ${percent(goal.agreement)})`,
    ],
    [
      'coverage',
      `${percent(coverage)} of requests; at least ${percent(coverageLowerBound)} (goal ${percent(goal.coverage)})`,
    ],
    ['delivered', `${percent(evaluation.deliveredAgreement)} with the teacher answering the rest`],
    ['tested on', `${count(evaluation.testPairs)} pairs never trained on, look ${evaluation.look} of this task`],
  ];
};

const studentRows = (run: RunState): string[][] => {
  const { student, evaluation, teacherMedianLatencyMs } = run;
  return [
    ...(student ? [['student', `${student.family}, ${bytes(Number(student.sizeBytes))}`]] : []),
    ...(evaluation
      ? [
          [
            'latency',
            `student ${milliseconds(evaluation.studentMedianLatencyMs)}, teacher ${milliseconds(teacherMedianLatencyMs)} (medians)`,
          ],
        ]
      : []),
  ];
};

const promptsText = (run: RunState): string =>
  [
    `${count(run.answered)} answered`,
    ...(run.cached > 0 ? [`${count(run.cached)} of them from the store`] : []),
    ...(run.declined > 0 ? [`${count(run.declined)} declined`] : []),
    ...(run.snapshot
      ? [
          `${count(run.snapshot.trainPairs)} train, ${count(run.snapshot.devPairs)} dev, ${count(run.snapshot.testPairs)} test`,
        ]
      : []),
  ].join('; ');

const timeText = (run: RunState): string => {
  const parts = run.stages.flatMap(({ stage, at }, index) => {
    const name = stages.find(([one]) => one === stage)?.[1];
    return at && name ? [`${name} ${milliseconds(between(at, run.stages[index + 1]?.at ?? run.finishedAt))}`] : [];
  });
  const total = run.startedAt ? milliseconds(between(run.startedAt, run.finishedAt)) : '';
  return `${total} (${parts.join(', ')})`;
};

const nextSteps = (run: RunState, task: Task, httpUrl: string): string[] => {
  if (run.stage !== RunStage.FINISHED || run.verdict !== Verdict.PROMOTED) return [];
  const input = Object.fromEntries(task.input.fields.map((field) => [field, '…']));
  const body = JSON.stringify({ model: task.name, messages: [{ role: 'user', content: JSON.stringify(input) }] });
  return [
    '',
    'What next? npm run up keeps it serving; then:',
    `  npx understudy predict ${task.name} ${task.input.fields.map((field) => `${field}='…'`).join(' ')}`,
    `  curl -s ${httpUrl}/v1/chat/completions -H 'content-type: application/json' -d '${body}'`,
  ];
};
