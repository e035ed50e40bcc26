/** Calls of one batch, added up by workload. Pure. */
import type { CallObserved } from '@understudy/contract';
import { sha256Hex } from '@understudy/task';

/** Ranks are numbers below this: the first 48 bits of a SHA-256. */
export const RANKS = 2 ** 48;

/** Of one distinct input. */
export interface PairRow {
  rank: number;
  input: string;
  output: string;
  model: string;
  times: number;
  input_tokens: number;
  output_tokens: number;
  at_us: number;
  bytes: number;
}

/** What a batch adds to a workload. */
export interface Addition {
  workload: string;
  system: string | undefined;
  schemaJson: string | undefined;
  newest: CallObserved;
  calls: number;
  failed: number;
  obstructed: number;
  obstacle: string;
  unmetered: number;
  unpriced: number;
  inputTokens: number;
  outputTokens: number;
  spentMicroUsd: number;
  firstAtUs: number;
  lastAtUs: number;
  pairs: Map<number, PairRow>;
  outputs: Set<number>;
}

/** Where a text stands in a random order that is the same everywhere. */
export const rankOf = (text: string): number => Number.parseInt(sha256Hex(text).slice(0, 12), 16);

export const addUp = (calls: readonly CallObserved[]): Addition[] => {
  const additions = new Map<string, Addition>();
  for (const call of calls) {
    const addition = additions.get(call.taskDigest) ?? emptyAddition(call);
    additions.set(call.taskDigest, addition);
    add(addition, call);
  }
  return [...additions.values()];
};

const emptyAddition = (call: CallObserved): Addition => ({
  ...{ workload: call.taskDigest, system: undefined, schemaJson: undefined, newest: call, obstacle: '' },
  ...{ calls: 0, failed: 0, obstructed: 0, unmetered: 0, unpriced: 0 },
  ...{ inputTokens: 0, outputTokens: 0, spentMicroUsd: 0, firstAtUs: atUsOf(call), lastAtUs: atUsOf(call) },
  ...{ pairs: new Map(), outputs: new Set() },
});

const add = (addition: Addition, call: CallObserved): void => {
  const atUs = atUsOf(call);
  addition.calls += 1;
  addition.system = call.system ?? addition.system;
  addition.schemaJson = call.schemaJson ?? addition.schemaJson;
  addition.firstAtUs = Math.min(addition.firstAtUs, atUs);
  if (atUs >= addition.lastAtUs) Object.assign(addition, { lastAtUs: atUs, newest: call });
  if (call.status !== 200) addition.failed += 1;
  if (call.obstacle !== '') {
    addition.obstructed += 1;
    addition.obstacle = call.obstacle;
  }
  addCost(addition, call);
  if (call.input !== undefined && call.output !== undefined) addPair(addition, call, call.input, call.output);
};

/** A call that failed costs nothing that anybody knows of. */
const addCost = (addition: Addition, call: CallObserved): void => {
  if (call.inputTokens === undefined || call.outputTokens === undefined) {
    if (call.status === 200) addition.unmetered += 1;
    return;
  }
  const [input, output] = [Number(call.inputTokens), Number(call.outputTokens)];
  addition.inputTokens += input;
  addition.outputTokens += output;
  if (call.inputPrice === undefined || call.outputPrice === undefined) addition.unpriced += 1;
  // USD per million tokens times tokens is millionths of a USD.
  else addition.spentMicroUsd += Math.round(input * call.inputPrice + output * call.outputPrice);
};

const addPair = (addition: Addition, call: CallObserved, input: string, output: string): void => {
  const rank = rankOf(input);
  addition.outputs.add(rankOf(output));
  const known = addition.pairs.get(rank);
  if (known) {
    known.times += 1;
    return;
  }
  addition.pairs.set(rank, {
    ...{ rank, input, output, model: call.model, times: 1, at_us: atUsOf(call) },
    input_tokens: Number(call.inputTokens ?? 0n),
    output_tokens: Number(call.outputTokens ?? 0n),
    bytes: Buffer.byteLength(input) + Buffer.byteLength(output),
  });
};

const atUsOf = ({ at }: CallObserved): number =>
  at ? Number(at.seconds) * 1_000_000 + Math.floor(at.nanos / 1_000) : 0;
