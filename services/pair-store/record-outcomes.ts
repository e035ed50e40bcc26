import type { TeacherAnswered, TeacherDeclined } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import { isSampled } from '@understudy/service/telemetry';
import type { PairStoreContext } from './context.ts';
import { removeLate } from './erasure/late-messages.ts';
import { answerOf } from './on-teacher-answered.ts';
import { declineOf } from './on-teacher-declined.ts';
import { type Answer, type Decline, record } from './store/record.ts';

interface Outcomes {
  readonly task: string;
  readonly taskDigest: string;
  readonly answers: Answer[];
  readonly declines: Decline[];
}

/**
 * Records a batch of answers and declines: one transaction for each version of a task that it speaks of. A prompt that is both
 * answered and declined in a run has the outcome that came first: a gateway may die between telling it and acknowledging the
 * prompt, and another one asks again.
 */
export async function recordOutcomes(context: PairStoreContext, events: readonly Event[]): Promise<void> {
  const spans = events
    .filter(({ traceparent }) => isSampled(traceparent))
    .map(({ traceparent, type }) =>
      context.telemetry.startSpan('record outcome', traceparent, { type, batch: events.length }),
    );
  try {
    await recordByVersion(context, events);
  } finally {
    for (const span of spans) span.end();
  }
}

async function recordByVersion(context: PairStoreContext, events: readonly Event[]): Promise<void> {
  const versions = new Map<string, Outcomes>();
  const told = new Map<string, 'answer' | 'decline'>();
  const isFirst = (runId: string, promptId: string, kind: 'answer' | 'decline') => {
    const key = `${runId} ${promptId}`;
    const first = told.get(key) ?? kind;
    told.set(key, first);
    return first === kind;
  };
  for (const { type, payload } of events) {
    const { task, taskDigest } = payload as TeacherAnswered | TeacherDeclined;
    const key = `${task} ${taskDigest}`;
    const outcomes = versions.get(key) ?? { task, taskDigest, answers: [], declines: [] };
    versions.set(key, outcomes);
    if (type === 'teacher.answered') {
      const answer = answerOf(payload as TeacherAnswered);
      if (isFirst((payload as TeacherAnswered).runId, answer.pair.promptId, 'answer')) outcomes.answers.push(answer);
      else context.journal.late(task, 1);
    } else if (type === 'teacher.declined') {
      const decline = declineOf(payload as TeacherDeclined);
      if (isFirst(decline.runId, decline.promptId, 'decline')) outcomes.declines.push(decline);
    } else throw new TerminalError(`expected teacher.answered or teacher.declined, came ${type}`);
  }
  for (const { task, taskDigest, answers, declines } of versions.values()) {
    const known = await context.tasks.get(task, taskDigest);
    const { mayBeComplete, late, forgotten } = await record(context.database, context.groups, known, answers, declines);
    context.journal.recorded(task, answers.length - late, declines.length);
    context.journal.late(task, late);
    if (mayBeComplete) context.wakeSealer();
    await removeLate(context, about(events, forgotten));
  }
}

function about(events: readonly Event[], promptIds: ReadonlySet<string>): Event[] {
  if (promptIds.size === 0) return [];
  return events.filter(({ type, payload }) => {
    if (type === 'teacher.answered') return promptIds.has((payload as TeacherAnswered).pair?.promptId ?? '');
    return promptIds.has((payload as TeacherDeclined).promptId);
  });
}
