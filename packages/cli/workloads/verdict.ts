import type { Workload } from '@understudy/contract/pair-store';
import { outputPlan } from '@understudy/task';

/** Whether a student could answer a workload's calls. */
export interface Verdict {
  distillable: boolean;
  /** Why not, or what to know beforehand. */
  reasons: string[];
  /** Of what was spent, what a student would have saved at the coverage that tasks aim at; 0 where there can be none. */
  savesMicroUsd: bigint;
}

/** A task's own goal where it says nothing else. */
const assumedCoveragePercent = 80n;
/** A first look at agreement needs about so many pairs, a fifth of them held out. */
const enoughPairs = 1_000;
/** With more of its calls than this made otherwise, a student would answer the smaller part. */
const maxObstructedShare = 0.5;

const obstacles: Record<string, string> = {
  conversation: 'are conversations: earlier turns, or not exactly one prompt and one input',
  'not-text': 'hold images, audio or files',
  options: 'ask for what no student gives, like several choices, log-probabilities or tools of the model’s choice',
};

export const verdictOf = (workload: Workload): Verdict => {
  const faults = faultsOf(workload);
  if (faults.length > 0) return { distillable: false, reasons: faults, savesMicroUsd: 0n };
  const reasons: string[] = [];
  if (workload.keptPairs < enoughPairs) {
    reasons.push(`${workload.keptPairs} pairs recorded so far; about ${enoughPairs} make a proof likely`);
  }
  if (workload.unmetered > 0n) reasons.push(`${workload.unmetered} calls told no usage and count as free`);
  if (workload.unpriced > 0n) reasons.push(`no price for ${workload.unpriced} calls: name the model in PRICES_FILE`);
  return { distillable: true, reasons, savesMicroUsd: (workload.spentMicroUsd * assumedCoveragePercent) / 100n };
};

const faultsOf = (workload: Workload): string[] => {
  const { system, schemaJson, calls, obstructed, obstacle, keptPairs, distinctOutputs } = workload;
  if (system === undefined || schemaJson === undefined) return ['its prompt is not known yet, or too long to record'];
  const faults: string[] = [];
  if (system === '') faults.push('it has no system prompt: what to do must be apart from the input');
  if (schemaJson === '')
    faults.push('it asks for no JSON Schema: send response_format json_schema, or force one function');
  else faults.push(...schemaFaults(schemaJson));
  if (Number(obstructed) > Number(calls) * maxObstructedShare) {
    faults.push(`${obstructed} of ${calls} calls ${obstacles[obstacle] ?? obstacle}`);
  }
  if (keptPairs > 1 && distinctOutputs === 1n) faults.push('its answer is always the same: there is nothing to decide');
  return faults;
};

/** What a schema says that no student can learn, field by field. */
const schemaFaults = (schemaJson: string): string[] => {
  try {
    outputPlan(JSON.parse(schemaJson));
    return [];
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return error.message.split('\n').slice(1);
  }
};
