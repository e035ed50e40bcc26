/** The first batch of a run whose task does not say how large it is: a share of the budget, in calls and in USD. Pure. */
import type { RunState } from '@understudy/contract/prompt';
import { DEFAULT_FIRST_BATCH, FIRST_SHARE, MIN_FIRST_BATCH, MIN_FURTHER_BATCH } from './limits.ts';
import type { Run } from './run.ts';

/** Its prompts. What would leave less than a further batch is taken at once. */
export function defaultFirst(budgetCalls: number, callsPerPrompt: number): number {
  const affordable = Math.floor(budgetCalls / callsPerPrompt);
  const first = Math.min(DEFAULT_FIRST_BATCH, Math.max(MIN_FIRST_BATCH, Math.floor(FIRST_SHARE * affordable)));
  return affordable - first < MIN_FURTHER_BATCH ? affordable : first;
}

/** Ends the first batch where what its prompts have cost so far says that all of it would take more than its share of the budget. */
export function withinShare(run: Run): Run {
  const { terms, state } = run;
  const batch = run.batches[0];
  const asked = askedOf(run);
  if (batch === undefined || batch.closed || run.batches.length > 1 || asked <= 0) return run;
  const written = writingOf(state);
  const shareOf = (calls: number, microUsd: bigint): number =>
    Math.max(calls / terms.budgetCalls, microUsd > 0n ? Number(microUsd) / (terms.budgetUsd * 1e6) : 0);
  const each = shareOf(state.teacherCalls, state.spentMicroUsd) / asked;
  if (each === 0) return run;
  const affordable = Math.round((FIRST_SHARE - shareOf(written.calls, written.microUsd)) / each);
  const enough = (run.pairs ?? 0) + Math.max(MIN_FIRST_BATCH, affordable);
  const to = Math.max(batch.submitted, Math.min(batch.to, enough));
  return to === batch.to ? run : { ...run, batches: [{ ...batch, to }] };
}

/** Outcomes that the teacher had to be asked for: finished pairs come first, and cost nothing. */
export const askedOf = ({ pairs = 0, state }: Run): number => state.answered + state.declined - pairs;

/** What writing inputs has taken of the budget. */
export function writingOf({ sources }: RunState): { calls: number; microUsd: bigint } {
  const all = sources.flatMap(({ writing }) => writing ?? []);
  return {
    calls: all.reduce((sum, { calls }) => sum + calls, 0),
    microUsd: all.reduce((sum, { spentMicroUsd }) => sum + spentMicroUsd, 0n),
  };
}
