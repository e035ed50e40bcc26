/** `estimate`: what a run would cost, before anything is spent. */
import type { DrawSampleResponse } from '@understudy/contract/prompt';
import type { EstimateCostResponse } from '@understudy/contract/teacher-gateway';
import type { Task } from '@understudy/task';
import { connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { taskFrom } from '../follow-run.ts';
import { count, dollars } from '../format.ts';
import { type Output, table } from '../output.ts';

/** Reading the sources of a large population takes as long as a run takes to sample. */
const drawTimeoutMs = 3_600_000;
const estimateTimeoutMs = 600_000;
const sampledInputs = 500;

export interface EstimateOptions {
  /** Real calls that may be made. */
  calls?: number;
  /** What they may cost. */
  usd?: number;
}

/** Estimates the cost of a run of a task, or of a task file, which is applied first. */
export const estimate = async (output: Output, taskOrFile: string, options: EstimateOptions): Promise<void> => {
  const { calls = 0, usd = 0 } = options;
  using connection = connect();
  const { task, digest } = await taskFrom(connection, taskOrFile);
  const request = { task: task.name, taskDigest: digest };
  const sample = await connection.prompt.drawSample(
    { ...request, inputs: sampledInputs },
    { timeoutMs: drawTimeoutMs },
  );
  if (sample.prompts === 0) throw new ExitError(exitCodes.badInput, `task ${task.name} has no prompts to ask yet`);
  const cost = await connection.teacherGateway.estimateCost(
    {
      ...{ ...request, inputJson: sample.inputJson, prompts: sample.prompts },
      ...{ maxCalls: calls, maxMicroUsd: BigInt(Math.round(usd * 1e6)) },
    },
    { timeoutMs: estimateTimeoutMs },
  );
  output.answer(figuresOf(task, sample, cost), () => linesOf(task, sample, cost));
};

const figuresOf = (task: Task, sample: DrawSampleResponse, cost: EstimateCostResponse) => ({
  task: task.name,
  population: sample.population,
  duplicates: sample.duplicates,
  badRecords: sample.badRecords,
  prompts: sample.prompts,
  firstBatch: sample.firstBatch,
  sampled: cost.sampled,
  known: cost.known,
  measured: cost.measured,
  usd: usdOf(cost.microUsd),
  lowUsd: usdOf(cost.lowMicroUsd),
  highUsd: usdOf(cost.highMicroUsd),
  largestCallUsd: usdOf(cost.largestCallMicroUsd),
  budgetUsd: task.budget.usd,
  budgetCalls: task.budget.calls,
  affordablePrompts: affordable(task, sample, cost.microUsd),
  calls: cost.calls,
  spentUsd: usdOf(cost.spentMicroUsd),
});

const usdOf = (microUsd: bigint): number => Number(microUsd) / 1e6;

/** Prompts that the budget's USD will pay, if they cost what is expected. */
const affordable = ({ budget }: Task, { prompts }: DrawSampleResponse, microUsd: bigint): number => {
  const each = usdOf(microUsd) / prompts;
  return each === 0 ? prompts : Math.min(prompts, Math.floor(budget.usd / each));
};

const linesOf = (task: Task, sample: DrawSampleResponse, cost: EstimateCostResponse): string[] => {
  const range = (share: number) => {
    const part = (microUsd: bigint) => dollars(BigInt(Math.round(Number(microUsd) * share)));
    return `${part(cost.microUsd)} (95%: ${part(cost.lowMicroUsd)} to ${part(cost.highMicroUsd)})`;
  };
  const basis =
    cost.measured >= 3
      ? `${count(cost.measured)} answers that were paid for`
      : 'the length of the prompts; --calls makes it surer';
  const paid = affordable(task, sample, cost.microUsd);
  const rows = [
    ['prompts', `${count(sample.prompts)} of a population of ${count(sample.population)}`],
    ['answered already', `${count(cost.known)} of ${count(cost.sampled)} sampled`],
    ['estimated from', basis],
    [`first batch, ${count(sample.firstBatch)}`, range(sample.firstBatch / sample.prompts)],
    [`all ${count(sample.prompts)}`, range(1)],
    ['the budget', `$${task.budget.usd} and ${count(task.budget.calls)} calls: pays about ${count(paid)} prompts`],
    ['one call', `at most ${dollars(cost.largestCallMicroUsd)}; so much of the budget is reserved for it`],
    ...(cost.calls > 0 ? [['asked for this', `${count(cost.calls)} calls, ${dollars(cost.spentMicroUsd)}`]] : []),
  ];
  return [`what a run of ${task.name} would cost, retries left out`, '', ...table(rows)];
};
