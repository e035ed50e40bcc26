/** Takes messages with forgotten inputs off the bus, bytes and all. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type DeadLettered,
  DeadLetteredSchema,
  type EventType,
  events,
  parseCeType,
  patternOf,
  type StreamName,
  storeNameOf,
  subjectOf,
  teacherKinds,
} from '@understudy/contract';
import type { BusConnection } from '@understudy/service/bus/connection';
import { isNotFound } from '@understudy/service/bus/provision';
import { removeMessage } from '@understudy/service/bus/remove-message';
import { holdsInput, TYPES_WITH_INPUTS } from '@understudy/task/forgotten-events';
import type { InputMatcher } from '@understudy/task/versions';

export interface Purged {
  /** Messages by stream. */
  readonly erased: Readonly<Record<string, number>>;
  readonly remains: readonly string[];
}

/** @param source name of a source, all of whose inputs are meant as well; none where empty */
export const purgeBus = async (
  bus: BusConnection,
  task: string,
  matcher: InputMatcher,
  source: string,
): Promise<Purged> => {
  const erased: Record<string, number> = {};
  const remains: string[] = [];
  let unreadable = 0;
  const take = async (stream: StreamName, pattern: string, isMeant: (bytes: Uint8Array, ceType: string) => boolean) => {
    for await (const { seq, data, ceType } of messagesOf(bus, stream, pattern)) {
      if (!isMeant(data, ceType)) continue;
      if (await removeMessage(bus, storeNameOf(bus.naming, stream), seq)) erased[stream] = (erased[stream] ?? 0) + 1;
    }
  };
  for (const type of TYPES_WITH_INPUTS) {
    for (const pattern of patternsOf(bus, type, task)) {
      await take(events[type].stream, pattern, (data, ceType) => {
        const read = readAs(ceType, data);
        return read !== undefined && holdsInput(matcher, read.type, read.payload, source);
      });
    }
  }
  await take('DEAD_LETTERS', patternOf(bus.naming, 'message.dead-lettered'), (data) => {
    const letter: DeadLettered = fromBinary(DeadLetteredSchema, data);
    const read = readAs(letter.headers['ce-type'] ?? '', letter.payload);
    // A letter that nobody can read names its task by its subject at best.
    if (read === undefined && (letter.task === task || letter.subject.split('.').includes(task))) unreadable += 1;
    return read !== undefined && holdsInput(matcher, read.type, read.payload, source);
  });
  if (unreadable > 0) {
    remains.push(
      `${unreadable} dead letters of ${task} cannot be read: understudy dead-letters show tells what they hold`,
    );
  }
  const { state } = await bus.jsm.streams.info(storeNameOf(bus.naming, 'PROMPTS'));
  if (state.messages > 0) {
    remains.push(
      'prompts that were answered already are in freed room of the stream PROMPTS until no prompt waits in it',
    );
  }
  return { erased, remains };
};

const patternsOf = ({ naming }: BusConnection, type: EventType, task: string): string[] => {
  if (type === 'prompt.submitted') return teacherKinds.map((kind) => subjectOf(naming, type, task, kind));
  // Calls that passed through have a workload in the place of a task.
  if (type === 'call.observed') return [patternOf(naming, type)];
  return [subjectOf(naming, type, task)];
};

/** A payload by its `ce-type`; undefined where it is none of ours. */
const readAs = (ceType: string, data: Uint8Array) => {
  const parsed = parseCeType(ceType);
  if (!parsed) return undefined;
  try {
    return { type: parsed.type, payload: fromBinary(events[parsed.type].schema, data) as never };
  } catch {
    return undefined; // counted as unreadable where it matters
  }
};

/** Messages of a stream, oldest first. A work queue has no other reader beside its own, so each is fetched by its number. */
async function* messagesOf(bus: BusConnection, stream: StreamName, pattern: string) {
  const name = storeNameOf(bus.naming, stream);
  for (let seq = 1; ; seq += 1) {
    // The server has known this form for long; the client's types do not.
    const request = { seq, next_by_subj: pattern } as { seq: number };
    const message = await bus.jsm.streams.getMessage(name, request).catch((error) => {
      if (isNotFound(error)) return null;
      throw error;
    });
    if (!message) return;
    seq = message.seq;
    yield { seq, data: message.data, ceType: message.header.get('ce-type') };
  }
}
