import { RunStage } from '@understudy/contract/prompt';
import { SAMPLING_DEADLINE_MS } from './limits.ts';
import type { Run, RunTerms } from './run.ts';

/**
 * Longest silence of a stage that is still alive, in ms. Labelling: one prompt through all its attempts. Training: the
 * task's own limit, for the trainer may be busy with another run. The grace on top covers restarts.
 */
export function patienceMs(stage: RunStage, terms: RunTerms, graceMs: number): number {
  switch (stage) {
    case RunStage.SAMPLING:
      return SAMPLING_DEADLINE_MS;
    case RunStage.LABELLING:
      return terms.attemptsMs + graceMs;
    case RunStage.TRAINING:
      return terms.trainingMs + graceMs;
    default:
      return graceMs;
  }
}

const waitedFor: Partial<Record<RunStage, string>> = {
  [RunStage.SAMPLING]: 'the sources to be read',
  [RunStage.LABELLING]: 'answers of the teacher and the seal of the pairs (teacher-gateway, pair-store)',
  [RunStage.TRAINING]: 'a student (trainer)',
  [RunStage.EVALUATING]: 'a verdict (evaluator)',
  [RunStage.PROMOTING]: 'the promotion (deployer)',
};

/** Why the run's stage counts as dead, or undefined while it does not. */
export function expiredReason(run: Run, around: { nowMs: number; graceMs: number }): string | undefined {
  const { stage } = run.state;
  const limitMs = patienceMs(stage, run.terms, around.graceMs);
  const silentMs = around.nowMs - run.lastSignOfLifeMs;
  if (silentMs <= limitMs) return undefined;
  return `no sign of life for ${Math.round(silentMs / 1_000)} s while waiting for ${waitedFor[stage] ?? 'its end'}; expected one within ${Math.round(limitMs / 1_000)} s`;
}
