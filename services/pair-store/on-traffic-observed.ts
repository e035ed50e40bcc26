import { type AnswerAudited, Purpose, Source, type TrafficObserved } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import { TRAFFIC_ORIGIN } from '@understudy/task';
import type { PairStoreContext } from './context.ts';
import { checkedPair } from './on-teacher-answered.ts';
import { type Answer, record } from './store/record.ts';

/**
 * Keeps what the teacher answered to clients, and to those that check a student, as further training pairs, where the task records traffic. Whatever the fact
 * calls the pair, it is live traffic: no random sample, so it never judges.
 */
export async function onTrafficObserved(context: PairStoreContext, events: readonly Event[]): Promise<void> {
  const versions = new Map<string, { task: string; taskDigest: string; answers: Answer[] }>();
  for (const { type, payload } of events) {
    const { task, taskDigest, pair } = payload as TrafficObserved | AnswerAudited;
    if (!pair) continue;
    const key = `${task} ${taskDigest}`;
    const observed = versions.get(key) ?? { task, taskDigest, answers: [] };
    versions.set(key, observed);
    const purpose = type === 'answer.audited' ? Purpose.AUDIT : Purpose.SERVE;
    observed.answers.push({ pair: { ...checkedPair(pair), purpose, source: Source.TRAFFIC, origin: TRAFFIC_ORIGIN } });
  }
  for (const { task, taskDigest, answers } of versions.values()) {
    const known = await context.tasks.get(task, taskDigest);
    if (!known.task.recordTraffic) {
      throw new TerminalError(`${task} does not record traffic, yet a client's pair was published for it`);
    }
    await record(context.database, context.groups, known, answers, []);
    context.journal.recorded(task, answers.length, 0);
  }
}
