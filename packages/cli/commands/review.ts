/** `review`: pairs that a person should look at, and what people decided about them. */
import { toJson } from '@bufbuild/protobuf';
import {
  type Decision,
  DecisionSchema,
  type SettlePairRequest,
  type Suspect,
  SuspectSchema,
  Suspicion,
} from '@understudy/contract/pair-store';
import { type Connection, connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { parseEvaluation } from '../evaluation.ts';
import { count, moment, oneLine, percent } from '../format.ts';
import type { Output } from '../output.ts';

interface Options {
  answer?: string;
  keep?: boolean;
  drop?: boolean;
  author?: string;
  reason?: string;
  replacing?: string;
  settled?: boolean;
}

/** Digits of an id that tell a task's pairs apart. */
const shownDigits = 12;

/** Lists a task's suspects or its decisions, or decides about a pair. */
export const review = async (output: Output, task: string, pair: string | undefined, given: Options): Promise<void> => {
  using connection = connect();
  if (pair !== undefined) return await settle(connection, output, task, pair, given);
  const stray = (['answer', 'keep', 'drop', 'author', 'reason', 'replacing'] as const).find(
    (option) => given[option] !== undefined,
  );
  if (stray) throw new ExitError(exitCodes.badInput, `--${stray} is about one pair: name it after the task`);
  return given.settled ? await listSettled(connection, output, task) : await listSuspects(connection, output, task);
};

const settle = async (
  { prompt, review: reviews }: Connection,
  output: Output,
  task: string,
  pairId: string,
  options: Options,
): Promise<void> => {
  const verdict = verdictOf(options);
  const { author, reason } = options;
  if (author === undefined || reason === undefined) {
    throw new ExitError(exitCodes.badInput, 'expected --author and --reason: a decision is kept with both');
  }
  const { taskDigest } = await prompt.getTask({ task });
  const about = { task, taskDigest, pairId, author, reason, replaces: options.replacing ?? '' };
  const { decision } = await reviews.settlePair({ ...about, verdict });
  if (!decision) throw new ExitError(exitCodes.failed, 'the pair store gave no decision');
  output.answer(toJson(DecisionSchema, decision) as object, () => [
    `settled: ${decisionText(decision)}; it holds in every later snapshot`,
  ]);
};

const verdictOf = ({ answer, keep, drop }: Options): SettlePairRequest['verdict'] => {
  const verdicts = [
    ...(answer === undefined ? [] : [{ case: 'answerJson', value: answer } as const]),
    ...(keep ? [{ case: 'keep', value: true } as const] : []),
    ...(drop ? [{ case: 'drop', value: true } as const] : []),
  ];
  const [verdict] = verdicts;
  if (verdict && verdicts.length === 1) return verdict;
  throw new ExitError(exitCodes.badInput, `expected one of --answer, --keep and --drop, got ${verdicts.length}`);
};

const listSuspects = async (connection: Connection, output: Output, task: string): Promise<void> => {
  const foldsDigest = await newestFolds(connection, task);
  const found = await Array.fromAsync(connection.review.listSuspects({ task, foldsDigest }));
  const all = found.flatMap(({ suspect }) => suspect ?? []);
  const open = all.filter(({ decision }) => !decision);
  output.answer({ suspects: open.map((suspect) => toJson(SuspectSchema, suspect)) }, () => [
    ...open.flatMap(suspectLines),
    `${count(open.length)} pairs of ${task} to look at${all.length > open.length ? `, ${count(all.length - open.length)} settled (--settled lists them)` : ''}`,
    ...(open.length > 0
      ? [`understudy review ${task} <pair> --answer '…' | --keep | --drop --author … --reason … settles one`]
      : []),
    ...(foldsDigest === '' ? ['no training across folds: training.findSuspects: true in the task asks for it'] : []),
  ]);
};

/** Of the newest evaluation; empty where the task did not ask for any. */
const newestFolds = async ({ evaluator }: Connection, task: string): Promise<string> => {
  const { reports } = await evaluator.listReports({ task });
  const [newest] = reports;
  return (newest && parseEvaluation(newest.reportJson).suspects?.folds?.digest) ?? '';
};

const suspectLines = ({ pair, suspicion, why, studentAnswerJson, confidence }: Suspect): string[] => [
  `${(pair?.pairId ?? '').slice(0, shownDigits)}  ${Suspicion[suspicion].toLowerCase()}: ${oneLine(why)}`,
  `  input    ${oneLine(pair?.inputJson ?? '')}${pair?.origin ? `  (from ${oneLine(pair.origin)})` : ''}`,
  `  teacher  ${oneLine(pair?.answerJson ?? '')}`,
  ...(studentAnswerJson === '' ? [] : [`  student  ${oneLine(studentAnswerJson)}, ${percent(confidence)} sure`]),
];

const listSettled = async ({ review: reviews }: Connection, output: Output, task: string): Promise<void> => {
  const found = await Array.fromAsync(reviews.listDecisions({ task }));
  const decisions = found.flatMap(({ decision }) => decision ?? []);
  output.answer({ decisions: decisions.map((decision) => toJson(DecisionSchema, decision)) }, () =>
    decisions.length === 0 ? [`nobody decided about a pair of ${task}`] : decisions.map(decisionText),
  );
};

const decisionText = ({ decisionId, pairId, answerJson, author, reason, at, replaces }: Decision): string => {
  const verdict = answerJson === undefined ? 'dropped' : `answered ${oneLine(answerJson)}`;
  const before = replaces === '' ? '' : `, in place of ${replaces.slice(0, shownDigits)}`;
  return `${moment(at)}  ${pairId.slice(0, shownDigits)}  ${verdict} by ${oneLine(author)}: ${oneLine(reason)} (decision ${decisionId}${before})`;
};
