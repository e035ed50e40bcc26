/**
 * A teacher that fails one call in ten, in every way that was seen of real ones, 10,000 prompts, three teacher-gateways,
 * one of them killed in the middle: what came of the prompts, and what the ledger and the teacher say was spent.
 */
import { checkFaults, microUsdPerCall, runWithFaults } from '../harness/faults.ts';
import { report } from './report.ts';

const prompts = 10_000;
const failShare = 0.1;
const budgetUsd = 200;

export const run = async (): Promise<void> => {
  const outcome = await runWithFaults(prompts, failShare, budgetUsd);
  const { answered, declined, declinesByReason, seconds, teacher, ledger, budget } = outcome;
  const usd = (microUsd: number) => `$${(microUsd / 1e6).toFixed(3)}`;
  const { seenCalls, unseenCalls } = teacher.charged;
  const charged = (seenCalls + unseenCalls) * microUsdPerCall;
  const kinds = Object.entries(teacher.failures).map(([kind, count]) => `${kind} ${count}`);
  const reasons = Object.entries(declinesByReason).map(([reason, count]) => `${reason.toLowerCase()} ${count}`);
  report(
    'faults',
    [
      [
        'prompts',
        `${prompts}: ${answered} answered, ${declined} declined (${reasons.join(', ')}), in ${seconds.toFixed(0)} s`,
      ],
      ['calls', `${teacher.calls}, ${teacher.failed} failed: ${kinds.join(', ')}`],
      ['the teacher charged', `${usd(charged)}, ${usd(unseenCalls * microUsdPerCall)} of it for answers that got lost`],
      ['the ledger has', `${usd(ledger.settled)} settled, ${usd(ledger.unsettled)} unsettled and counted as spent`],
      ['the budget', `${usd(budget.microUsd)}, ${budget.calls} calls; the ledger counts ${ledger.calls}`],
    ],
    {
      ...{ prompts, answered, declined, calls: teacher.calls, failed: teacher.failed, ledger_calls: ledger.calls },
      charged_micro_usd: charged,
      settled_micro_usd: ledger.settled,
      unsettled_micro_usd: ledger.unsettled,
      budget_micro_usd: budget.microUsd,
      seconds: Math.round(seconds),
    },
  );
  checkFaults(prompts, outcome);
};
