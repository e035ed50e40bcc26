/** `dead-letters`: messages that no handler could finish, kept for a person. */
import { readFileSync } from 'node:fs';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { type DeadLettered, DeadLetteredSchema, events, parseCeType } from '@understudy/contract';
import { type BusConnection, connectBus } from '@understudy/service/bus/connection';
import { maxKeptBytes } from '@understudy/service/bus/dead-letter';
import { Telemetry } from '@understudy/service/telemetry';
import { connect } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { moment } from '../format.ts';
import { type Output, table } from '../output.ts';

const stream = 'DEAD_LETTERS';
const maxListed = 200;

interface Kept {
  seq: number;
  letter: DeadLettered;
}

const withBus = async <T>(work: (bus: BusConnection) => Promise<T>): Promise<T> => {
  using connection = connect();
  const { natsUrl, operatorSeedFile } = connection.run;
  const { log } = new Telemetry({ service: 'understudy', logLevel: 'silent' });
  const seed = readFileSync(operatorSeedFile, 'utf8');
  const bus = await connectBus({ url: natsUrl, seed, name: 'operator', naming: { prefix: '' }, log });
  try {
    return await work(bus);
  } finally {
    await bus.close();
  }
};

/** The newest first. */
export const listDeadLetters = (output: Output): Promise<void> =>
  withBus(async ({ jsm }) => {
    const { state } = await jsm.streams.info(stream);
    const kept: Kept[] = [];
    for (let seq = state.last_seq; seq >= Math.max(1, state.first_seq) && kept.length < maxListed; seq -= 1) {
      const found = await stored(jsm, seq);
      if (found) kept.push(found);
    }
    const letters = kept.map(({ seq, letter }) => ({ number: seq, ...(toJson(DeadLetteredSchema, letter) as object) }));
    output.answer({ total: state.messages, letters }, () =>
      kept.length === 0
        ? ['there are no dead letters']
        : table([
            ['number', 'at', 'consumer', 'subject', 'reason'],
            ...kept.map(({ seq, letter }) => [
              String(seq),
              moment(letter.at),
              letter.consumer,
              letter.subject,
              letter.reason,
            ]),
          ]),
    );
  });

/** Everything about one of them, its payload decoded where it can be. */
export const showDeadLetter = (output: Output, number: number): Promise<void> =>
  withBus(async ({ jsm }) => {
    const { letter } = await required(jsm, number);
    const payload = decoded(letter);
    const json = toJson(DeadLetteredSchema, letter) as object;
    output.answer({ number, ...json, ...(payload ? { decodedPayload: payload } : {}) }, () => [
      ...table([
        ['number', String(number)],
        ['at', moment(letter.at)],
        ['reason', letter.reason],
        ['consumer', letter.consumer],
        ['deliveries', String(letter.deliveries)],
        ['subject', letter.subject],
        ['stored as', `${letter.stream} ${letter.streamSequence}`],
        ['run', letter.runId],
        ['task', letter.task],
        ...Object.entries(letter.headers),
      ]),
      '',
      payload
        ? JSON.stringify(payload, null, 2)
        : `the payload of ${letter.payload.length} bytes does not decode: ${Buffer.from(letter.payload).toString('base64')}`,
    ]);
  });

/** Publishes the message again as it was, and takes the dead letter away once the server has it. */
export const replayDeadLetter = (output: Output, number: number): Promise<void> =>
  withBus(async ({ js, jsm }) => {
    const { letter } = await required(jsm, number);
    if (letter.payload.length >= maxKeptBytes) {
      throw new ExitError(
        exitCodes.failed,
        `dead letter ${number} holds only the first ${maxKeptBytes} bytes of its message`,
      );
    }
    const head = headers();
    for (const [key, value] of Object.entries(letter.headers)) head.set(key, value);
    // Its own id would be taken for a repetition of the message that died.
    const msgID = `replay:${number}:${letter.headers['Nats-Msg-Id'] ?? ''}`;
    const { seq, stream: storedIn } = await js.publish(letter.subject, letter.payload, { headers: head, msgID });
    await jsm.streams.deleteMessage(stream, number, false);
    output.answer({ number, stream: storedIn, sequence: seq }, () => [
      `dead letter ${number} is back on ${letter.subject} (${storedIn} ${seq}): every consumer of that subject gets it again`,
    ]);
  });

const stored = async (jsm: JetStreamManager, seq: number): Promise<Kept | undefined> => {
  try {
    const message = await jsm.streams.getMessage(stream, { seq });
    return message ? { seq, letter: fromBinary(DeadLetteredSchema, message.data) } : undefined;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.status === 404) return undefined;
    throw error;
  }
};

const required = async (jsm: JetStreamManager, number: number): Promise<Kept> => {
  const found = await stored(jsm, number);
  if (found) return found;
  throw new ExitError(exitCodes.badInput, `there is no dead letter ${number}: understudy dead-letters list names them`);
};

const decoded = (letter: DeadLettered): object | undefined => {
  const parsed = parseCeType(letter.headers['ce-type'] ?? '');
  if (!parsed) return undefined;
  const { schema } = events[parsed.type];
  try {
    return toJson(schema, fromBinary(schema, letter.payload) as never) as object;
  } catch {
    return undefined; // That it does not decode may be why it is here.
  }
};
