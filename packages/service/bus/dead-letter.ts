import type { JsMsg } from '@nats-io/jetstream';
import type { MsgHdrs } from '@nats-io/transport-node';
import { type ConsumerName, parseCeType } from '@understudy/contract';
import { decodePayload, type OutgoingEvent } from './event.ts';

/** Larger payloads are cut in the dead letter; the original is far below. */
export const maxKeptBytes = 256 * 1024;

/** Describes a message that a consumer gave up on. */
export const deadLetterOf = (message: JsMsg, consumer: ConsumerName, reason: string) =>
  letter(
    { ...message.info, subject: message.subject, seq: message.seq, headers: message.headers, data: message.data },
    consumer,
    reason,
  );

interface Letter {
  stream: string;
  seq: number;
  subject: string;
  deliveryCount: number;
  headers: MsgHdrs | undefined;
  data: Uint8Array;
}

/** Builds the dead letter of a stored message; its entity is the message's place in its stream and its consumer. */
export const letter = (message: Letter, consumer: string, reason: string): OutgoingEvent<'message.dead-lettered'> => {
  const address = addressOf(message);
  return {
    type: 'message.dead-lettered',
    entity: `${message.stream}:${message.seq}:${consumer}`,
    traceparent: message.headers?.get('traceparent') || undefined,
    payload: {
      ...address,
      stream: message.stream,
      consumer,
      subject: message.subject,
      streamSequence: BigInt(message.seq),
      deliveries: message.deliveryCount,
      reason,
      headers: Object.fromEntries([...(message.headers ?? [])].map(([key, values]) => [key, values.join(',')])),
      payload: message.data.subarray(0, maxKeptBytes),
      at: { seconds: BigInt(Math.floor(Date.now() / 1_000)), nanos: 0 },
    },
  };
};

/** Run, task and version that a message belongs to, as far as it can be read; the subject's last token at worst. */
const addressOf = (message: Letter) => {
  const last = message.subject.split('.').at(-1) ?? '';
  const fallback = { runId: '', task: /^[a-z0-9-]{1,48}$/.test(last) ? last : 'unknown', taskDigest: '' };
  const parsed = parseCeType(message.headers?.get('ce-type') ?? '');
  if (!parsed) return fallback;
  try {
    const payload = decodePayload(parsed.type, message.data) as { runId?: string; task: string; taskDigest: string };
    return { runId: payload.runId ?? '', task: payload.task, taskDigest: payload.taskDigest };
  } catch {
    return fallback;
  }
};
