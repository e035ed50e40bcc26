import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Workload, WorkloadPair } from '@understudy/contract/pair-store';
import { templateOf } from './frame.ts';

/** A longer message than any so far is still taken, up to this much longer. */
const roomForLonger = 1.5;
const maxCharacters = 100_000;
/** Calls that a first run may make beside the recorded pairs, and at least so many: those of a first batch. */
const minBudgetCalls = 1_000;
/** Checks a day that the adopted task's owner is taken to pay for: the default `live.audit.callsPerDay`, of which a share of 1% needs 100,000 answers. */
const checksPerDay = 1_000;
/** A message seen more often than this weighs no more: lines of the log are its weight. */
const maxRepeats = 100;

export interface DraftOptions {
  name: string;
  /** The log's file, as the task names it. */
  logPath: string;
  apiKeyEnv: string | undefined;
}

/** A task file's content for a workload whose prompt and schema are known, as data. */
export const draftOf = (workload: Workload, pairs: readonly WorkloadPair[], options: DraftOptions) => {
  const { name, logPath, apiKeyEnv } = options;
  const longest = pairs.reduce((most, { input }) => Math.max(most, input.length), 1);
  const calls = Math.max(pairs.length, minBudgetCalls);
  const { inputPrice, outputPrice } = workload;
  const priced = inputPrice !== undefined && outputPrice !== undefined && inputPrice + outputPrice > 0;
  const perCallMicroUsd = Number(workload.spentMicroUsd) / Math.max(Number(workload.calls - workload.failed), 1);
  /** What so many calls cost, to the next cent. */
  const usdOf = (count: number) => Math.ceil((count * perCallMicroUsd) / 10_000) / 100;
  return {
    name,
    description: `Adopted from workload ${workload.workloadId.slice(0, 12)} of ${workload.model}.`,
    input: { fields: ['text'] },
    prompt: {
      instructions: workload.system,
      template: templateOf(pairs.map(({ input }) => input)),
      maxCharacters: Math.min(Math.ceil(longest * roomForLonger), maxCharacters),
      truncate: false,
    },
    output: { schema: JSON.parse(workload.schemaJson ?? '') },
    teacher: {
      ...{ kind: 'openai', baseUrl: workload.upstream, model: workload.model },
      ...(apiKeyEnv !== undefined && { apiKeyEnv }),
      ...(priced && { pricing: { inputUsdPerMillionTokens: inputPrice, outputUsdPerMillionTokens: outputPrice } }),
    },
    // Distinct inputs are a uniform sample, each as often as it was asked: what is recorded is the population.
    sources: [{ kind: 'log', name: 'adopted', path: logPath, population: true }],
    budget: { calls, usd: usdOf(calls) },
    // Without money for checks nobody would see the student fall. What it is unsure of goes to the upstream on the client's account.
    ...(priced && { live: { audit: { callsPerDay: checksPerDay, usdPerDay: Math.max(usdOf(checksPerDay), 0.01) } } }),
    goal: { agreement: 0.95, coverage: 0.8 },
    matchCalls: [workload.workloadId],
    recordTraffic: true,
  };
};

/** Lines of a log of finished pairs, in the form that sources of the kind `log` read. */
export function* logLines(workload: Workload, pairs: readonly WorkloadPair[]): Generator<string> {
  for (const pair of pairs) {
    const line = JSON.stringify(loggedCall(workload, pair));
    for (let time = 0; time < Math.min(pair.times, maxRepeats); time += 1) yield `${line}\n`;
  }
}

const loggedCall = (
  { workloadId, system }: Workload,
  { input, output, model, at, inputTokens, outputTokens }: WorkloadPair,
) => ({
  ...(at && { timestamp: new Date(timestampMs(at)).toISOString() }),
  workload_id: workloadId,
  request: {
    model,
    messages: [
      { role: 'system', content: system },
      { role: 'user', content: input },
    ],
  },
  response: {
    model,
    choices: [{ index: 0, message: { role: 'assistant', content: output }, finish_reason: 'stop' }],
    usage: { prompt_tokens: Number(inputTokens), completion_tokens: Number(outputTokens) },
  },
});
