/** A run against a teacher that fails in every way, with a replica killed in the middle, and both ledgers after it. */
import { type Failure, failures, tokensPerCall } from '../fakes/failures.ts';
import type { Stats } from '../fakes/teacher.ts';
import { FakeTeacher } from './fake-teacher.ts';
import { TestPlatform } from './platform.ts';
import { openAiTeacher, routingTask } from './task.ts';

const replicas = 3;
/** One attempt after the first: so some prompts fail twice, and are declined. */
const maxRetries = 1;
const timeoutMs = 1_500;
const callsInFlight = 24;
/** Prices with which the tokens of a call cost a whole number of millionths of a dollar. */
const pricing = { inputUsdPerMillionTokens: 100, outputUsdPerMillionTokens: 200 };
export const microUsdPerCall =
  tokensPerCall.input * pricing.inputUsdPerMillionTokens + tokensPerCall.output * pricing.outputUsdPerMillionTokens;

/** What both sides say after the run; money in millionths of a dollar. */
export interface FaultsOutcome {
  answered: number;
  declined: number;
  declinesByReason: Record<string, number>;
  pairs: number;
  seconds: number;
  teacher: Stats;
  budget: { calls: number; microUsd: number };
  /** Charged for whole replies when the replica was killed, and not settled by then: some of it by the one that is gone. */
  untold: number;
  ledger: { calls: number; settled: number; unsettled: number; reserved: number };
}

/** All ways to fail but refused credentials, which stop everything until a person comes; together this share of the calls. */
const everyWay = (share: number): Partial<Record<Failure, number>> => {
  const kinds = failures.filter((kind) => kind !== 'unauthorized');
  return Object.fromEntries(kinds.map((kind) => [kind, share / kinds.length]));
};

/** @param usd what the run may spend; the most that a call can cost is some forty times what it does cost */
export const runWithFaults = async (prompts: number, failShare: number, usd: number): Promise<FaultsOutcome> => {
  await using platform = await TestPlatform.start({
    env: { UNDERSTUDY_TEACHER_GATEWAYS: String(replicas), LOG_LEVEL: 'warn' },
  });
  await using teacher = await FakeTeacher.start({ latencyMs: 20 });
  await teacher.behave({ latencyMs: 20, slowMs: 3 * timeoutMs, retryAfterMs: 50, failures: everyWay(failShare) });
  const settings = {
    ...openAiTeacher(teacher.baseUrl),
    timeoutMs,
    maxRetries,
    pricing,
    rate: { concurrency: callsInFlight },
  };
  const budget = { calls: 2 * prompts, usd };
  const task = routingTask({ name: 'faults', folder: platform.dataDir, prompts, teacher: settings, budget });
  const started = performance.now();
  const runId = await platform.startRun(task);
  await platform.runUntil(runId, ({ answered }) => answered > prompts / 3);
  const before = await platform.teacherGateway.getLedger({ task: 'faults', runId });
  const back = platform.kill('teacher-gateway-2');
  const { charged } = await teacher.stats();
  await back;
  const untold = charged.seenCalls * microUsdPerCall - Number(before.spentMicroUsd - before.expiredMicroUsd);
  await platform.runUntil(runId, ({ snapshot }) => snapshot !== undefined);
  const seconds = (performance.now() - started) / 1_000;
  await platform.prompt.cancelRun({ runId, reason: 'no student is wanted' });
  const ledger = await settledLedger(platform, runId);
  const { answered, declined, declinesByReason } = await platform.pairStore.stats({ task: 'faults', runId });
  const { pairs } = await platform.pairStore.stats({ task: 'faults' });
  const stats = await teacher.stats();
  return {
    ...{ answered, declined, declinesByReason, pairs, seconds, teacher: stats, untold, ledger },
    budget: { calls: budget.calls, microUsd: usd * 1e6 },
  };
};

/** The ledger once nothing is reserved any more: what the killed replica held has expired. */
const settledLedger = async (platform: TestPlatform, runId: string): Promise<FaultsOutcome['ledger']> => {
  const { teacherGateway } = platform;
  for (;;) {
    const now = await teacherGateway.getLedger({ task: 'faults', runId });
    if (now.reservedCalls === 0n) {
      const unsettled = Number(now.expiredMicroUsd);
      const settled = Number(now.spentMicroUsd) - unsettled;
      return { calls: Number(now.calls), settled, unsettled, reserved: Number(now.reservedMicroUsd) };
    }
    await new Promise((wake) => setTimeout(wake, 250));
  }
};

/** @throws Error with all that does not hold */
export const checkFaults = (
  prompts: number,
  { answered, declined, pairs, teacher, budget, untold, ledger }: FaultsOutcome,
): void => {
  const { charged, calls } = teacher;
  const seen = charged.seenCalls * microUsdPerCall;
  const all = seen + charged.unseenCalls * microUsdPerCall;
  const spent = ledger.settled + ledger.unsettled;
  const rules: [holds: boolean, rule: string][] = [
    [
      answered + declined === prompts,
      `each of ${prompts} prompts is answered or declined once: ${answered} + ${declined}`,
    ],
    [pairs === answered, `a pair for each answer, and none for a decline: ${pairs} for ${answered}`],
    [ledger.calls >= calls, `the ledger knows of every call: ${ledger.calls} for ${calls}`],
    [ledger.calls <= budget.calls, `no more calls than the budget has: ${ledger.calls} of ${budget.calls}`],
    [spent >= all, `spent and unsettled cover what was charged: ${spent} for ${all}`],
    [spent <= budget.microUsd, `no more is spent than the budget has: ${spent} of ${budget.microUsd}`],
    [ledger.settled <= seen, `what is settled was charged: ${ledger.settled} of ${seen}`],
    // What the killed replica had answers for and had not told, or was being told when it died, is unsettled instead.
    [
      seen - ledger.settled <= untold + callsInFlight * microUsdPerCall,
      `what was charged for whole replies is settled, but for calls of the killed replica: ${ledger.settled} of ${seen}, ${untold} untold when it died`,
    ],
  ];
  const broken = rules.filter(([holds]) => !holds).map(([, rule]) => rule);
  if (broken.length > 0) throw new Error(`expected, and not so:\n${broken.join('\n')}`);
};
