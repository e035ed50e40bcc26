import { type AnswerAudited, type Pair, Purpose, Source, type TrafficObserved } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import { type CompiledTask, InputError, TRAFFIC_ORIGIN } from '@understudy/task';
import type { PairStoreContext } from './context.ts';
import { forgottenAmong } from './erasure/forgotten.ts';
import { removeLate } from './erasure/late-messages.ts';
import { checkedPair } from './on-teacher-answered.ts';
import { type Answer, record } from './store/record.ts';

/** What a fact holds of a client's input: a pair where the teacher answered, else the input alone. */
interface Observed {
  readonly event: Event;
  readonly pair: Pair | undefined;
  readonly inputJson: string;
}

/**
 * Keeps what the teacher answered to clients, and to those that check a student, as further training pairs, where the task records traffic. Whatever the fact
 * calls the pair, it is live traffic: no random sample, so it never judges. Facts with forgotten inputs are taken off the bus.
 */
export async function onTrafficObserved(context: PairStoreContext, events: readonly Event[]): Promise<void> {
  const versions = new Map<string, { task: string; taskDigest: string; observed: Observed[] }>();
  for (const event of events) {
    const { task, taskDigest, pair, inputJson } = contentOf(event);
    if (!pair && inputJson === '') continue;
    const key = `${task} ${taskDigest}`;
    const version = versions.get(key) ?? { task, taskDigest, observed: [] };
    versions.set(key, version);
    version.observed.push({ event, pair: pair && checkedPair(pair), inputJson });
  }
  for (const { task, taskDigest, observed } of versions.values()) {
    const known = await context.tasks.get(task, taskDigest);
    if (!known.task.recordTraffic) {
      throw new TerminalError(`${task} does not record traffic, yet a client's pair was published for it`);
    }
    const answers = observed.flatMap(answerOf);
    if (answers.length > 0) await record(context.database, context.groups, known, answers, []);
    context.journal.recorded(task, answers.length, 0);
    await removeForgotten(context, known.compiled, observed);
  }
}

function contentOf({ payload }: Event) {
  const { task, taskDigest, pair } = payload as TrafficObserved | AnswerAudited;
  return { task, taskDigest, pair, inputJson: 'inputJson' in payload ? (payload.inputJson ?? '') : '' };
}

function answerOf({ event, pair }: Observed): Answer[] {
  if (!pair) return [];
  const purpose = event.type === 'answer.audited' ? Purpose.AUDIT : Purpose.SERVE;
  return [{ pair: { ...pair, purpose, source: Source.TRAFFIC, origin: TRAFFIC_ORIGIN } }];
}

async function removeForgotten(context: PairStoreContext, compiled: CompiledTask, observed: readonly Observed[]) {
  const ids = observed.map(({ pair, inputJson }) => pair?.promptId ?? promptIdOf(compiled, inputJson));
  const forgotten = await forgottenAmong(context.database, new Set(ids.filter((id) => id !== '')));
  await removeLate(
    context,
    observed.flatMap(({ event }, index) => (forgotten.has(ids[index] ?? '') ? [event] : [])),
  );
}

/** Empty where it is no input of the task. */
function promptIdOf({ promptId }: CompiledTask, inputJson: string): string {
  try {
    return promptId(JSON.parse(inputJson));
  } catch (error) {
    if (error instanceof InputError || error instanceof SyntaxError) return '';
    throw error;
  }
}
