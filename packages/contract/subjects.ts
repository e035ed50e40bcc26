import {
  type ConsumerName,
  consumers,
  type EventType,
  events,
  type StreamName,
  streams,
  type TeacherKind,
} from './table.ts';

const token = /^[a-z0-9-]{1,64}$/;

/** What prompt.submitted is routed by: each kind of teacher has a consumer of its own. */
export type Route = TeacherKind;

/** Names on a shared bus start with a prefix of tokens `[a-z0-9-]` joined by dots; empty for a bus of our own. */
export interface Naming {
  prefix: string;
}

const withPrefix = (naming: Naming, subject: string) =>
  naming.prefix === '' ? subject : `${naming.prefix}.${subject}`;

const requireToken = (value: string, what: string) => {
  if (!token.test(value)) {
    throw new RangeError(
      `${what} ${JSON.stringify(value)} cannot be a subject token: expected 1 to 64 of a-z, 0-9 and "-"`,
    );
  }
  return value;
};

/**
 * Subject of an event: `<type>.<task>`, for prompt.submitted `<type>.<teacher>.<task>`.
 * @throws RangeError when task is no subject token, or a teacher is missing or given needlessly
 */
export const subjectOf = (naming: Naming, type: EventType, task: string, route?: Route): string => {
  requireToken(task, 'task');
  if (type === 'prompt.submitted') {
    if (!route) throw new RangeError('prompt.submitted needs the kind of its teacher in the subject');
    return withPrefix(naming, `${type}.${route}.${task}`);
  }
  return withPrefix(naming, `${type}.${task}`);
};

/** Subject pattern of all events of a type. */
export const patternOf = (naming: Naming, type: EventType, route?: Route): string =>
  withPrefix(naming, route ? `${type}.${route}.>` : `${type}.>`);

/** Where replicas of the teacher gateway say which questions they ask, each below it under an id of its own. */
export const claimsSubject = (naming: Naming): string => withPrefix(naming, 'claims.teacher-gateway');

/** Name of a stream or bucket on the server, which allows no dots. */
export const storeNameOf = (naming: Naming, name: string): string =>
  naming.prefix === '' ? name : `${naming.prefix.replaceAll('.', '-')}-${name}`;

/** Subject patterns of the events that a stream holds. */
export const streamSubjects = (naming: Naming, stream: StreamName): string[] =>
  (Object.keys(events) as EventType[])
    .filter((type) => events[type].stream === stream)
    .map((type) => patternOf(naming, type));

/** Subject patterns that a durable consumer receives. */
export const consumerSubjects = (naming: Naming, name: ConsumerName): string[] => {
  const { types, teacher } = consumers[name] as { types: readonly EventType[]; teacher?: TeacherKind };
  return types.map((type) => patternOf(naming, type, teacher));
};

/** `ce-type` of an event type: `understudy.<type>.v<version>`. */
export const ceTypeOf = (type: EventType, version: number = events[type].version): string =>
  `understudy.${type}.v${version}`;

/** Reads a `ce-type`; undefined when it is none of ours. */
export const parseCeType = (ceType: string): { type: EventType; version: number } | undefined => {
  const match = /^understudy\.(.+)\.v([1-9]\d{0,5})$/.exec(ceType);
  if (!match || !Object.hasOwn(events, match[1]!)) return undefined;
  return { type: match[1] as EventType, version: Number(match[2]) };
};

export const streamNames = Object.keys(streams) as StreamName[];
