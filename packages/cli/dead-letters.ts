/** Dead letters on the bus: reading them, and giving their messages another chance. */
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { JetStreamApiError } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import {
  type DeadLettered,
  DeadLetteredSchema,
  events,
  parseCeType,
  type StreamName,
  storeNameOf,
} from '@understudy/contract';
import type { BusConnection } from '@understudy/service/bus/connection';
import { maxKeptBytes } from '@understudy/service/bus/dead-letter';
import { ExitError, exitCodes } from './errors.ts';

const stream: StreamName = 'DEAD_LETTERS';

/** A dead letter with the number that the bus knows it by. */
export interface KeptLetter {
  number: number;
  letter: DeadLettered;
}

/** The newest letters first, at most `limit`, and how many there are in all. */
export const listLetters = async (
  bus: BusConnection,
  limit: number,
): Promise<{ total: number; letters: KeptLetter[] }> => {
  const { state } = await bus.jsm.streams.info(storeNameOf(bus.naming, stream));
  const letters: KeptLetter[] = [];
  for (let number = state.last_seq; number >= Math.max(1, state.first_seq) && letters.length < limit; number -= 1) {
    const letter = await find(bus, number);
    if (letter) letters.push({ number, letter });
  }
  return { total: state.messages, letters };
};

/** @throws ExitError when there is none of that number */
export const getLetter = async (bus: BusConnection, number: number): Promise<DeadLettered> => {
  const letter = await find(bus, number);
  if (letter) return letter;
  throw new ExitError(exitCodes.badInput, `there is no dead letter ${number}: understudy dead-letters list names them`);
};

/** The payload of the message that died, as JSON; undefined where it does not decode, which may be why it died. */
export const payloadOf = ({ headers: head, payload }: DeadLettered): object | undefined => {
  const parsed = parseCeType(head['ce-type'] ?? '');
  if (!parsed) return undefined;
  const { schema } = events[parsed.type];
  try {
    return toJson(schema, fromBinary(schema, payload) as never) as object;
  } catch {
    return undefined;
  }
};

/**
 * Publishes the message again as it was, and takes the letter away once the server has stored it.
 * @throws ExitError when the letter holds only the beginning of the message
 */
export const replayLetter = async (
  bus: BusConnection,
  number: number,
): Promise<{ subject: string; stream: string; sequence: number }> => {
  const letter = await getLetter(bus, number);
  if (letter.payload.length >= maxKeptBytes) {
    const message = `dead letter ${number} holds only the first ${maxKeptBytes} bytes of its message: it cannot be replayed`;
    throw new ExitError(exitCodes.failed, message);
  }
  const head = headers();
  for (const [key, value] of Object.entries(letter.headers)) head.set(key, value);
  // Under its own id it would be taken for a repetition of the message that died.
  const msgID = `replay:${number}:${letter.headers['Nats-Msg-Id'] ?? ''}`;
  const stored = await bus.js.publish(letter.subject, letter.payload, { headers: head, msgID });
  await bus.jsm.streams.deleteMessage(storeNameOf(bus.naming, stream), number);
  return { subject: letter.subject, stream: stored.stream, sequence: stored.seq };
};

const find = async (bus: BusConnection, number: number): Promise<DeadLettered | undefined> => {
  try {
    const message = await bus.jsm.streams.getMessage(storeNameOf(bus.naming, stream), { seq: number });
    return message ? fromBinary(DeadLetteredSchema, message.data) : undefined;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.status === 404) return undefined;
    throw error;
  }
};
