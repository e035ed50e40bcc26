/** What a run's state says, stage by stage. Pure: the displays only print it. */
import { RunStage, type RunState } from '@understudy/contract/prompt';
import { count, dollars, percent, percentAtLeast } from './format.ts';

/** Stages in the order of a run, with their names on the display. */
export const stages = [
  [RunStage.SAMPLING, 'sample prompts'],
  [RunStage.LABELLING, 'ask the teacher'],
  [RunStage.TRAINING, 'train the student'],
  [RunStage.EVALUATING, 'test agreement'],
  [RunStage.PROMOTING, 'promote'],
] as const;

/** A stage's name and what is known about it, on one line. */
export const stageLine = (stage: RunStage, run: RunState, answersPerSecond?: number): string => {
  const name = stages.find(([one]) => one === stage)?.[1] ?? 'finished';
  const details = detailsOf(stage, run, answersPerSecond);
  return details === '' ? name : `${name}: ${details}`;
};

const detailsOf = (stage: RunStage, run: RunState, answersPerSecond: number | undefined): string => {
  switch (stage) {
    case RunStage.SAMPLING:
      return samplingDetails(run);
    case RunStage.LABELLING:
      return labellingDetails(run, answersPerSecond);
    case RunStage.TRAINING:
      return trainingDetails(run);
    case RunStage.EVALUATING:
      return evaluationDetails(run);
    case RunStage.PROMOTING:
      return run.generation > 0n ? `generation ${run.generation}` : '';
    case RunStage.FINISHED:
      return run.reason;
    default:
      return '';
  }
};

const samplingDetails = ({ population, duplicates, badRecords }: RunState): string => {
  if (population === 0) return '';
  const asides = [
    ...(duplicates > 0 ? [`${count(duplicates)} duplicates`] : []),
    ...(badRecords > 0 ? [`${count(badRecords)} bad records left out`] : []),
  ];
  return [`${count(population)} distinct inputs`, ...asides].join(', ');
};

const labellingDetails = (run: RunState, answersPerSecond: number | undefined): string => {
  if (run.submitted === 0) return '';
  return [
    `${count(run.answered)} of ${count(run.submitted)} answered`,
    ...(run.declined > 0 ? [`${count(run.declined)} declined`] : []),
    ...(run.cached > 0 ? [`${count(run.cached)} from the store`] : []),
    `${dollars(run.spentMicroUsd)} spent`,
    ...(answersPerSecond === undefined ? [] : [`${count(Math.round(answersPerSecond))}/s`]),
  ].join(', ');
};

const trainingDetails = ({ training }: RunState): string => {
  if (!training) return '';
  const { candidate, family, epoch, epochs, step, steps, loss, devAgreement } = training;
  return [
    candidate || family,
    `epoch ${epoch} of ${epochs}`,
    `step ${count(step)} of ${count(steps)}`,
    `loss ${loss.toFixed(3)}`,
    ...(devAgreement === undefined ? [] : [`${percent(devAgreement)} agreement on dev`]),
  ].join(', ');
};

const evaluationDetails = ({ evaluation }: RunState): string => {
  if (!evaluation) return '';
  const { selectiveAgreement, selectiveAgreementLowerBound, coverage } = evaluation;
  return `agreement ${percent(selectiveAgreement)} (at least ${percentAtLeast(selectiveAgreementLowerBound)}) at ${percent(coverage)} coverage`;
};

/** How fast answers come, from the states seen so far. */
export class AnswerRate {
  #first: { answered: number; atMs: number } | undefined;

  /** Answers a second since the first state seen; undefined before a second has passed. */
  update(run: RunState, nowMs: number): number | undefined {
    if (run.stage !== RunStage.LABELLING) {
      this.#first = undefined;
      return undefined;
    }
    this.#first ??= { answered: run.answered, atMs: nowMs };
    const elapsedMs = nowMs - this.#first.atMs;
    return elapsedMs < 1_000 ? undefined : ((run.answered - this.#first.answered) * 1_000) / elapsedMs;
  }
}
