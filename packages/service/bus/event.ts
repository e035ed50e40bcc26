import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { headers, type MsgHdrs } from '@nats-io/transport-node';
import {
  ceTypeOf,
  type EventType,
  events,
  type PayloadInit,
  type PayloadOf,
  parseCeType,
  type Route,
} from '@understudy/contract';
import { TerminalError } from '../errors.ts';

/** A fact to publish. */
export interface OutgoingEvent<T extends EventType = EventType> {
  type: T;
  payload: PayloadInit<T>;
  /** What the fact is about, within its type and run, or task where it is of no run: publishing the same entity again is the same message. */
  entity: string;
  /** W3C trace context of what caused it. */
  traceparent?: string | undefined;
  /** Second token of the subject, for the types that are routed by one. */
  route?: Route;
}

/** An event as encoded for the wire: also what an outbox keeps. */
export interface EncodedEvent {
  type: EventType;
  task: string;
  route?: Route | undefined;
  /** `ce-id` and `Nats-Msg-Id`. */
  id: string;
  time: string;
  traceparent?: string | undefined;
  data: Uint8Array;
}

const hex64 = /^[0-9a-f]{64}$/;

/**
 * Encodes an event. Its id is SHA-256 of type, run (task where it is of no run) and entity, so that a repetition is recognised.
 * @throws TerminalError when the payload lacks its task or task digest
 */
export const encodeEvent = <T extends EventType>(event: OutgoingEvent<T>): EncodedEvent => {
  const schema = events[event.type].schema;
  const payload = create(schema, event.payload as never) as { task: string; taskDigest: string; runId?: string };
  requireAddress(event.type, payload);
  const id = createHash('sha256')
    .update(`${event.type}\n${payload.runId ?? payload.task}\n${event.entity}`)
    .digest('hex');
  return {
    type: event.type,
    task: payload.task,
    route: event.route,
    id,
    time: new Date().toISOString(),
    traceparent: event.traceparent,
    data: toBinary(schema, payload as never),
  };
};

/** CloudEvents 1.0 in NATS binary mode, plus W3C trace context. */
export const headersOf = (event: EncodedEvent, source: string): MsgHdrs => {
  const head = headers();
  head.set('Nats-Msg-Id', event.id);
  head.set('ce-specversion', '1.0');
  head.set('ce-id', event.id);
  head.set('ce-type', ceTypeOf(event.type));
  head.set('ce-source', source);
  head.set('ce-subject', event.task);
  head.set('ce-time', event.time);
  head.set('ce-datacontenttype', 'application/protobuf');
  head.set('ce-dataschema', events[event.type].schema.typeName);
  if (event.traceparent) head.set('traceparent', event.traceparent);
  return head;
};

/** What a received message's type is; a newer version than ours is a reason to wait, not to fail. */
export type ReadType = { kind: 'known'; type: EventType } | { kind: 'newer'; ceType: string };

/** @throws TerminalError when the message has no type of ours */
export const readType = (head: MsgHdrs | undefined): ReadType => {
  const ceType = head?.get('ce-type') ?? '';
  const parsed = parseCeType(ceType);
  if (!parsed)
    throw new TerminalError(
      `header ce-type: expected understudy.<type>.v<n>, came ${JSON.stringify(ceType.slice(0, 100))}`,
    );
  if (parsed.version > events[parsed.type].version) return { kind: 'newer', ceType };
  return { kind: 'known', type: parsed.type };
};

/** @throws TerminalError when the bytes are no payload of this type, or name no task */
export const decodePayload = <T extends EventType>(type: T, data: Uint8Array): PayloadOf<T> => {
  const schema = events[type].schema;
  let payload: PayloadOf<T>;
  try {
    payload = fromBinary(schema, data) as PayloadOf<T>;
  } catch (error) {
    throw new TerminalError(`the payload is no ${schema.typeName}`, { cause: error });
  }
  requireAddress(type, payload as never);
  return payload;
};

/** Dead letters may come of messages that had no readable address. */
const requireAddress = (type: EventType, payload: { task: string; taskDigest: string; runId?: string }) => {
  if (type === 'message.dead-lettered') return;
  if (!/^[a-z0-9-]{1,48}$/.test(payload.task)) {
    throw new TerminalError(
      `${type}: task: expected 1 to 48 of a-z, 0-9 and "-", came ${JSON.stringify(payload.task.slice(0, 100))}`,
    );
  }
  if (!hex64.test(payload.taskDigest)) {
    throw new TerminalError(
      `${type}: task_digest: expected 64 hex digits, came ${JSON.stringify(payload.taskDigest.slice(0, 100))}`,
    );
  }
  if (payload.runId === '') throw new TerminalError(`${type}: run_id: expected an id, came nothing`);
};
