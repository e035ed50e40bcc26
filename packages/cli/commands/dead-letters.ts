/** `dead-letters`: messages that no handler could finish, kept for a person. */
import { readFileSync } from 'node:fs';
import { toJson } from '@bufbuild/protobuf';
import { DeadLetteredSchema } from '@understudy/contract';
import { type BusConnection, connectBus } from '@understudy/service/bus/connection';
import { Telemetry } from '@understudy/service/telemetry';
import { connect } from '../connect.ts';
import { getLetter, listLetters, payloadOf, replayLetter } from '../dead-letters.ts';
import { moment, oneLine } from '../format.ts';
import { type Output, table } from '../output.ts';

const maxListed = 200;

const withBus = async (work: (bus: BusConnection) => Promise<void>): Promise<void> => {
  using connection = connect();
  const { natsUrl, operatorSeedFile } = connection.run;
  const { log } = new Telemetry({ service: 'understudy', logLevel: 'silent' });
  const seed = readFileSync(operatorSeedFile, 'utf8');
  const bus = await connectBus({ url: natsUrl, seed, name: 'operator', naming: { prefix: '' }, log });
  try {
    await work(bus);
  } finally {
    await bus.close();
  }
};

/** The newest first. */
export const listDeadLetters = (output: Output): Promise<void> =>
  withBus(async (bus) => {
    const { total, letters } = await listLetters(bus, maxListed);
    const json = letters.map(({ number, letter }) => ({ number, ...(toJson(DeadLetteredSchema, letter) as object) }));
    const rows = letters.map(({ number, letter }) => [
      String(number),
      moment(letter.at),
      letter.consumer,
      letter.subject,
      oneLine(letter.reason),
    ]);
    output.answer({ total, letters: json }, () =>
      rows.length === 0
        ? ['there are no dead letters']
        : table([['number', 'at', 'consumer', 'subject', 'reason'], ...rows]),
    );
  });

/** Everything about one of them, its payload decoded where it can be. */
export const showDeadLetter = (output: Output, number: number): Promise<void> =>
  withBus(async (bus) => {
    const letter = await getLetter(bus, number);
    const payload = payloadOf(letter);
    const json = { number, ...(toJson(DeadLetteredSchema, letter) as object), decodedPayload: payload ?? null };
    output.answer(json, () => [
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

/** Every consumer of its subject gets the message again. */
export const replayDeadLetter = (output: Output, number: number): Promise<void> =>
  withBus(async (bus) => {
    const { subject, stream, sequence } = await replayLetter(bus, number);
    output.answer({ number, subject, stream, sequence }, () => [
      `dead letter ${number} is back on ${subject} (${stream} ${sequence}): every consumer of that subject gets it again`,
    ]);
  });
