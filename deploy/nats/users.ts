// Who may do what on the bus: one user a service, with what the contract's table lets it publish and receive; one
// for operators; one for outside programs that take part in runs or are a teacher.
import {
  type BucketName,
  broadcasts,
  buckets,
  type ConsumerName,
  claimsSubject,
  consumers,
  type EventType,
  events,
  type Naming,
  patternOf,
  type ServiceName,
  type StreamName,
  serviceNames,
  storeNameOf,
  streamNames,
} from '@understudy/contract';
import { sweeperName } from '@understudy/service/bus/provision';

/** What a user may publish and subscribe; subject patterns. A denial wins over an allowance. */
export interface BusUser {
  name: UserName;
  publish: { allow: string[]; deny?: string[] };
  subscribe: { allow: string[] };
  /** May answer a request that it was allowed to receive. */
  allow_responses?: boolean;
}

export type UserName = ServiceName | 'operator' | 'outside';

export interface UserOptions {
  naming: Naming;
  /** Where teachers of the kind `nats` are asked. */
  teacherSubjects: readonly string[];
}

/** The service that turns the server's notices of given-up messages into dead letters. */
const sweeping: ServiceName = 'prompt';

/** The service that takes messages with forgotten inputs off the streams it reads. */
const forgetting: ServiceName = 'pair-store';

/** What an outside program publishes to have a run of its own. */
const outsideTypes: readonly EventType[] = ['run.requested', 'prompt.submitted', 'batch.closed'];

const eventTypes = Object.keys(events) as EventType[];
const consumerNames = Object.keys(consumers) as ConsumerName[];
const bucketNames = Object.keys(buckets) as BucketName[];

/** All users of the bus. */
export const busUsers = (options: UserOptions): BusUser[] => [
  ...serviceNames.map((name) => serviceUser(name, options)),
  { name: 'operator', publish: { allow: ['>'] }, subscribe: { allow: ['>'] } },
  outsideUser(options),
];

const serviceUser = (name: ServiceName, { naming, teacherSubjects }: UserOptions): BusUser => {
  const own = eventTypes.filter((type) => (events[type].publishers as readonly ServiceName[]).includes(name));
  const durables = consumerNames.filter((consumer) => consumers[consumer].service === name);
  const heard = (broadcasts as Partial<Record<ServiceName, readonly EventType[]>>)[name] ?? [];
  const heardStreams = [...new Set(heard.map((type) => events[type].stream))];
  const claims =
    name === 'teacher-gateway' ? [`${claimsSubject(naming)}.*`, ...readAll(storeNameOf(naming, 'CLAIMS'))] : [];
  const allow = [
    '$JS.API.INFO',
    ...own.map((type) => patternOf(naming, type)),
    ...durables.flatMap((consumer) => pull(storeNameOf(naming, consumers[consumer].stream), consumer)),
    ...heardStreams.flatMap((stream) => readAll(storeNameOf(naming, stream))),
    ...bucketNames.flatMap((bucket) => bucketSubjects(name, bucket, naming)),
    ...(name === sweeping ? sweep(naming) : []),
    ...(name === forgetting ? removal(naming) : []),
    ...(name === 'teacher-gateway' ? teacherSubjects : []),
    ...claims,
  ];
  const deny = heardStreams.flatMap((stream) => foreignPulls(stream, name, naming));
  return {
    name,
    publish: { allow: [...new Set(allow)], ...orNothing(deny) },
    subscribe: { allow: inbox(name) },
  };
};

const outsideUser = ({ naming, teacherSubjects }: UserOptions): BusUser => ({
  name: 'outside',
  publish: {
    allow: [...outsideTypes.map((type) => patternOf(naming, type)), ...readAll(storeNameOf(naming, 'FACTS'))],
    deny: foreignPulls('FACTS', undefined, naming),
  },
  subscribe: { allow: [...inbox('outside'), ...eventTypes.map((type) => patternOf(naming, type)), ...teacherSubjects] },
  allow_responses: true,
});

const inbox = (name: string) => [`_INBOX.${name}.>`];

const orNothing = (deny: string[]) => (deny.length > 0 ? { deny } : {});

/** Pull from one durable consumer and settle what came. Newer servers put domain and account into the reply subject. */
const pull = (stream: string, consumer: string) => [
  `$JS.API.STREAM.INFO.${stream}`,
  `$JS.API.CONSUMER.INFO.${stream}.${consumer}`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
  `$JS.ACK.${stream}.${consumer}.>`,
  `$JS.ACK.*.*.${stream}.${consumer}.>`,
];

/** Read a stream through consumers of one's own, made when needed and gone with their reader. */
const readAll = (stream: string) => [
  `$JS.API.STREAM.INFO.${stream}`,
  `$JS.API.CONSUMER.CREATE.${stream}`,
  ...['CREATE', 'INFO', 'DELETE', 'MSG.NEXT'].map((verb) => `$JS.API.CONSUMER.${verb}.${stream}.>`),
  `$JS.FC.${stream}.>`,
];

/** Such a reader must not take messages from, change or remove the durable consumers of others. */
const foreignPulls = (stream: StreamName, reader: ServiceName | undefined, naming: Naming) => {
  const store = storeNameOf(naming, stream);
  return consumerNames
    .filter((name) => consumers[name].stream === stream && consumers[name].service !== reader)
    .flatMap((name) => [
      `$JS.API.CONSUMER.CREATE.${store}.${name}`,
      `$JS.API.CONSUMER.CREATE.${store}.${name}.>`,
      `$JS.API.CONSUMER.DELETE.${store}.${name}`,
      `$JS.API.CONSUMER.MSG.NEXT.${store}.${name}`,
    ]);
};

const bucketSubjects = (name: ServiceName, bucket: BucketName, naming: Naming): string[] => {
  const owner = buckets[bucket].owner === name;
  if (!owner && !(buckets[bucket].readers as readonly ServiceName[]).includes(name)) return [];
  const store = storeNameOf(naming, bucket);
  const stream = `KV_${store}`;
  const read = [
    ...readAll(stream),
    `$JS.API.STREAM.MSG.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}.>`,
  ];
  return owner ? [...read, `$KV.${store}.>`, `$JS.API.STREAM.PURGE.${stream}`] : read;
};

/** Read the notices, look up the message that each is about, and take a lost prompt off its queue. */
const sweep = (naming: Naming): string[] => {
  const [advisories, prompts] = [storeNameOf(naming, 'ADVISORIES'), storeNameOf(naming, 'PROMPTS')];
  return [
    ...pull(advisories, sweeperName),
    ...streamNames.map((stream) => `$JS.API.STREAM.MSG.GET.${storeNameOf(naming, stream)}`),
    `$JS.API.STREAM.MSG.DELETE.${prompts}`,
  ];
};

/** Delete messages, and see whether one that could not be deleted still stands. */
const removal = (naming: Naming): string[] =>
  (['FACTS', 'TRAFFIC'] as const).flatMap((stream) =>
    ['DELETE', 'GET'].map((verb) => `$JS.API.STREAM.MSG.${verb}.${storeNameOf(naming, stream)}`),
  );
