/** The last thing a run prints. */
import { toJson } from '@bufbuild/protobuf';
import { Verdict } from '@understudy/contract';
import { RunStage, type RunState, RunStateSchema } from '@understudy/contract/prompt';
import type { Task } from '@understudy/task';
import type { Connection } from './connect.ts';
import { type Evaluation, parseEvaluation } from './evaluation.ts';
import { between, bytes, count, dollars, milliseconds, percent, percentAtLeast, verdictWords } from './format.ts';
import { type Output, table } from './output.ts';
import { stages } from './run-progress.ts';
import { sourceRows } from './source-report.ts';
import { suspectRows } from './suspect-rows.ts';
import { teacherSizeBytes } from './teacher-size.ts';

/** Prints the verdict with all that led to it, and what to do next. */
export const printReport = async (connection: Connection, run: RunState, task: Task, output: Output): Promise<void> => {
  const reportDigest = run.evaluation?.reportDigest;
  const answer = reportDigest ? await connection.evaluator.getReport({ reportDigest }) : undefined;
  const json = {
    run: toJson(RunStateSchema, run),
    report: answer ? (JSON.parse(answer.reportJson) as unknown) : null,
    teacherSizeBytes: teacherSizeBytes(task.teacher) ?? null,
    httpUrl: connection.run.httpUrl,
  };
  output.answer(json, () => {
    const evaluation = answer && parseEvaluation(answer.reportJson);
    const ladder = evaluation ? ladderRows(evaluation) : [];
    const searched = ladder.length === 0 ? [] : ['', 'students tried, on dev:', ...table(ladder)];
    const fields = evaluation ? fieldRows(evaluation) : [];
    const parts = fields.length === 0 ? [] : ['', 'fields of the answer, on test:', ...table(fields)];
    return [
      '',
      ...table(reportRows(run, task, evaluation)),
      ...parts,
      ...searched,
      ...nextSteps(run, task, connection.run.httpUrl),
    ];
  });
};

/** The report as rows of a name and what is known. */
export const reportRows = (run: RunState, task: Task, evaluation: Evaluation | undefined): string[][] => [
  ['verdict', `${verdictWords(run.verdict)}${run.reason === '' ? '' : `: ${run.reason}`}`],
  ...(evaluation ? [...agreementRows(evaluation, task), ...costRows(evaluation, run, task)] : []),
  ...(evaluation ? suspectRows(evaluation, task.name) : []),
  ['prompts', promptsText(run)],
  ...sourceRows(run),
  ['spent', `${dollars(run.spentMicroUsd)} for ${count(run.teacherCalls)} calls to the teacher${ofBudget(run, task)}`],
  ['time', timeText(run)],
  ...run.badRecordDetails.map((detail, index) => [index === 0 ? 'bad records' : '', detail]),
];

/** Where a run stopped early, what that has saved. */
const ofBudget = (run: RunState, { budget }: Task): string =>
  run.verdict === Verdict.NOT_DISTILLABLE ? `, of the ${count(budget.calls)} calls of the budget` : '';

const share = (value: number | null): string => (value === null ? 'none' : percent(value));

const agreementRows = ({ test }: Evaluation, { goal }: Task): string[][] => {
  if (!test) return [];
  const { selectiveAgreement, coverage, accuracy } = test;
  return [
    [
      'agreement',
      `${share(selectiveAgreement.value)} where the student answers, at least ${percentAtLeast(selectiveAgreement.lowerBound)} with ${percent(goal.confidence)} confidence (goal: ${percent(goal.agreement)})`,
    ],
    [
      'coverage',
      `${share(coverage.value)} of requests, at least ${percentAtLeast(coverage.lowerBound)} (goal: ${percent(goal.coverage)})`,
    ],
    ['delivered', `${percent(test.deliveredAgreement)} agreement with the teacher answering the rest`],
    ['tested on', `${count(test.pairs)} pairs that training never saw, in look ${test.look} of this task`],
    ...(accuracy
      ? [
          [
            'accuracy',
            `teacher ${percent(accuracy.teacher)}, student ${percent(accuracy.student)}, both as delivered ${percent(accuracy.delivered)}, against the truth that ${count(accuracy.pairs)} of them have`,
          ],
        ]
      : []),
  ];
};

const costRows = ({ student, costs }: Evaluation, run: RunState, { teacher }: Task): string[][] => {
  // On test pairs whose answers were found in the store nothing was measured.
  const teacherMs = costs?.teacher.medianLatencyMs || run.teacherMedianLatencyMs;
  const teacherSize = teacherSizeBytes(teacher);
  const ratio = (larger: number, smaller: number) =>
    smaller > 0 && larger > 0 ? `, ${(larger / smaller).toFixed(1)} times` : '';
  return [
    [
      'size',
      teacherSize === undefined
        ? `student ${bytes(student.sizeBytes)} (${student.family})`
        : `student ${bytes(student.sizeBytes)} (${student.family}), teacher ${bytes(teacherSize)}${ratio(teacherSize, student.sizeBytes)}`,
    ],
    ...(costs
      ? [
          [
            'latency',
            `student ${milliseconds(costs.student.medianLatencyMs)}, teacher ${teacherMs > 0 ? milliseconds(teacherMs) : 'unknown'}${ratio(teacherMs, costs.student.medianLatencyMs)} (medians)`,
          ],
        ]
      : []),
  ];
};

/** How well the student does on each part of the answer; empty where the answer is one label. */
export const fieldRows = ({ test }: Evaluation): string[][] => {
  const { heads = [] } = test ?? {};
  if (heads.length < 2) return [];
  return [
    ['', 'agreement', 'where sure', 'precision', 'recall', 'F1'],
    ...heads.map(({ name, agreement, selectiveAgreement, precision, recall, f1 }) => [
      name,
      ...[agreement, selectiveAgreement, precision, recall, f1].map(share),
    ]),
  ];
};

/** The trainer's ladder as a table; empty where it had no more than one student to choose from. */
export const ladderRows = ({ candidates, student }: Evaluation): string[][] => {
  if (candidates.filter(({ trained }) => trained).length < 2) return [];
  return [
    ['', 'agreement', 'coverage', 'size', 'latency', 'training', ''],
    ...candidates.map(({ name, status, reason, onFront, trained }) => {
      if (!trained) return [name, '', '', '', '', '', `${status}: ${reason}`];
      const { agreement, coverage, sizeBytes, latencyUs, trainingMs } = trained;
      const figures = [percent(agreement), percent(coverage), bytes(sizeBytes)];
      const note = trained.digest === student.digest ? 'chosen' : onFront ? '' : 'another is as good in all, or better';
      return [name, ...figures, milliseconds(latencyUs / 1_000), milliseconds(trainingMs), note];
    }),
  ];
};

const promptsText = (run: RunState): string =>
  [
    `${count(run.answered)} answered${run.cached > 0 ? `, ${count(run.cached)} of them from the store` : ''}`,
    ...(run.declined > 0 ? [`${count(run.declined)} declined (${declinesText(run)})`] : []),
    ...(run.snapshot
      ? [
          `${count(run.snapshot.trainPairs)} train, ${count(run.snapshot.devPairs)} dev, ${count(run.snapshot.testPairs)} test pairs`,
        ]
      : []),
  ].join('; ');

const declinesText = ({ declinesByReason }: RunState): string =>
  Object.entries(declinesByReason)
    .map(([reason, declines]) => `${reason.toLowerCase()} ${count(declines)}`)
    .join(', ');

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
