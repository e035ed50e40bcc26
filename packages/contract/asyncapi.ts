/** Writes `asyncapi.json`, the AsyncAPI 3 document of the bus, from the one table. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ceTypeOf } from './subjects.ts';
import {
  type ConsumerSpec,
  consumers,
  type EventSpec,
  type EventType,
  events,
  type StreamSpec,
  streams,
} from './table.ts';

const types = Object.keys(events) as EventType[];
const keyOf = (type: EventType) => type.replaceAll('.', '-');
const ref = (path: string) => ({ $ref: `#/${path}` });

const channelOf = (type: EventType) => {
  const spec: EventSpec = events[type];
  const parameters = {
    task: { description: 'Name of the task: 1 to 48 of a-z, 0-9 and "-".' },
    ...(type === 'prompt.submitted' ? { teacher: { description: 'Kind of the teacher that is to answer.' } } : {}),
  };
  return {
    address: type === 'prompt.submitted' ? `${type}.{teacher}.{task}` : `${type}.{task}`,
    description: `${spec.summary} Stored in the stream ${spec.stream}.`,
    parameters,
    messages: { [keyOf(type)]: ref(`components/messages/${keyOf(type)}`) },
  };
};

const messageOf = (type: EventType) => ({
  name: ceTypeOf(type),
  contentType: 'application/protobuf',
  summary: events[type].summary,
  headers: ref('components/schemas/CloudEventHeaders'),
  payload: {
    schemaFormat: 'application/vnd.google.protobuf;version=3',
    schema: { $ref: `../../proto/${events[type].schema.file.name}.proto#${events[type].schema.typeName}` },
  },
});

const operations = () => {
  const entries: [string, object][] = [];
  for (const type of types) {
    for (const service of events[type].publishers as readonly string[]) {
      entries.push([
        `${service}-publishes-${keyOf(type)}`,
        { action: 'send', channel: ref(`channels/${keyOf(type)}`), tags: [{ name: service }] },
      ]);
    }
  }
  for (const [name, spec] of Object.entries(consumers) as [string, ConsumerSpec][]) {
    for (const type of spec.types) {
      const summary = `Durable consumer ${name}: at most ${spec.maxDeliver} deliveries, ${spec.ackWaitMs} ms to acknowledge, ${spec.maxAckPending} under way.`;
      entries.push([
        `${name}-receives-${keyOf(type)}`,
        { action: 'receive', channel: ref(`channels/${keyOf(type)}`), summary, tags: [{ name: spec.service }] },
      ]);
    }
  }
  return Object.fromEntries(entries);
};

const header = (description: string) => ({ type: 'string', description });

const headers = {
  type: 'object',
  required: ['ce-specversion', 'ce-id', 'ce-type', 'ce-source'],
  properties: {
    'Nats-Msg-Id': header('The same as ce-id: publish retries are stored once.'),
    'ce-specversion': header('1.0'),
    'ce-id': header('SHA-256 (hex) of type, run and entity.'),
    'ce-type': header('understudy.<type>.v<version>'),
    'ce-source': header('understudy/<service>, or a name of your own.'),
    'ce-subject': header('Name of the task.'),
    'ce-time': header('RFC 3339.'),
    'ce-datacontenttype': header('application/protobuf'),
    'ce-dataschema': header('Full name of the protobuf message.'),
    traceparent: header('W3C trace context.'),
  },
};

export const asyncApi = () => ({
  asyncapi: '3.0.0',
  info: {
    title: 'Understudy events',
    version: '1.0.0',
    description: `CloudEvents 1.0 in NATS binary mode over JetStream. Streams: ${Object.entries(streams)
      .map(([name, spec]: [string, StreamSpec]) => `${name} (${spec.retention}, ${spec.maxBytes} bytes)`)
      .join(', ')}.`,
  },
  channels: Object.fromEntries(types.map((type) => [keyOf(type), channelOf(type)])),
  operations: operations(),
  components: {
    schemas: { CloudEventHeaders: headers },
    messages: Object.fromEntries(types.map((type) => [keyOf(type), messageOf(type)])),
  },
});

export const asyncApiPath = join(import.meta.dirname, 'asyncapi.json');

if (import.meta.main) writeFileSync(asyncApiPath, `${JSON.stringify(asyncApi(), null, 2)}\n`);
