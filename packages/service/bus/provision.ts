import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { nanos } from '@nats-io/transport-node';
import {
  advisorySubject,
  type BucketName,
  type BucketSpec,
  buckets,
  type ConsumerName,
  claimsSubject,
  consumerSubjects,
  consumers,
  type Naming,
  type StreamName,
  type StreamSpec,
  storeNameOf,
  streamNames,
  streamSubjects,
  streams,
} from '@understudy/contract';
import type { BusConnection } from './connection.ts';

/**
 * Makes or updates every stream, consumer and bucket of the contract, and reads each setting back, because older
 * servers ignore in silence what they do not know. Run by whoever sets the bus up, never by a service.
 * @param replicas copies of each stream in a cluster; 1 on one machine
 * @throws Error naming the stream or consumer and the setting that the server did not take
 */
export const provision = async (bus: BusConnection, options: { replicas?: number } = {}): Promise<void> => {
  const replicas = options.replicas ?? 1;
  for (const name of streamNames) await provisionStream(bus.jsm, bus.naming, name, replicas);
  for (const name of Object.keys(consumers) as ConsumerName[]) await provisionConsumer(bus, name);
  await provisionSweeper(bus.jsm, bus.naming);
  const kvm = new Kvm(bus.js);
  for (const name of Object.keys(buckets) as BucketName[]) {
    const spec: BucketSpec = buckets[name];
    await kvm.create(storeNameOf(bus.naming, name), {
      history: spec.history,
      max_bytes: spec.maxBytes,
      ttl: spec.ttlMs,
      replicas,
    });
  }
};

const subjectsOf = (naming: Naming, name: StreamName): string[] => {
  if (name === 'ADVISORIES') return [advisorySubject];
  return name === 'CLAIMS' ? [`${claimsSubject(naming)}.*`] : streamSubjects(naming, name);
};

const streamConfig = (naming: Naming, name: StreamName, replicas: number): Partial<StreamConfig> & { name: string } => {
  const spec: StreamSpec = streams[name];
  return {
    name: storeNameOf(naming, name),
    subjects: subjectsOf(naming, name),
    retention: spec.retention === 'workqueue' ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    discard: spec.discard === 'new' ? DiscardPolicy.New : DiscardPolicy.Old,
    storage: StorageType.File,
    max_bytes: spec.maxBytes,
    max_age: nanos(spec.maxAgeMs),
    duplicate_window: nanos(spec.duplicateWindowMs),
    num_replicas: replicas,
  };
};

const provisionStream = async (jsm: JetStreamManager, naming: Naming, name: StreamName, replicas: number) => {
  const wanted = streamConfig(naming, name, replicas);
  const exists = await found(jsm.streams.info(wanted.name));
  const made = exists ? await jsm.streams.update(wanted.name, wanted) : await jsm.streams.add(wanted);
  requireTaken(`stream ${wanted.name}`, wanted, made.config);
};

const consumerConfig = (naming: Naming, name: ConsumerName): Partial<ConsumerConfig> => {
  const spec = consumers[name];
  return {
    durable_name: name,
    filter_subjects: consumerSubjects(naming, name),
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    ack_wait: nanos(spec.ackWaitMs),
    max_deliver: spec.maxDeliver,
    max_ack_pending: spec.maxAckPending,
  };
};

const provisionConsumer = async ({ nc, jsm, naming }: BusConnection, name: ConsumerName) => {
  const stream = storeNameOf(naming, consumers[name].stream);
  const { filter_subjects: subjects = [], ...rest } = consumerConfig(naming, name);
  const wanted = { ...rest, ...filterOf(subjects, nc.info?.version ?? '') };
  const exists = await found(jsm.consumers.info(stream, name));
  const made = exists ? await jsm.consumers.update(stream, name, wanted) : await jsm.consumers.add(stream, wanted);
  requireTaken(`consumer ${name} of ${stream}`, wanted, made.config);
};

/** Several subjects need server 2.10; on an older one the consumer gets its whole stream, and passes over what it is not for. */
const filterOf = (subjects: readonly string[], serverVersion: string): Partial<ConsumerConfig> => {
  if (subjects.length === 1) return { filter_subject: subjects[0]! };
  const [major = 0, minor = 0] = serverVersion.split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 10) ? { filter_subjects: [...subjects] } : {};
};

/** The one durable consumer that no event type has: it reads the server's notices of given-up messages. */
export const sweeperName = 'sweeper';

const provisionSweeper = async (jsm: JetStreamManager, naming: Naming) => {
  const stream = storeNameOf(naming, 'ADVISORIES');
  if (await found(jsm.consumers.info(stream, sweeperName))) return;
  await jsm.consumers.add(stream, {
    durable_name: sweeperName,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
  });
};

const found = async (info: Promise<unknown>): Promise<boolean> => {
  try {
    await info;
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
};

/** True when the server says that a stream or consumer does not exist. */
export const isNotFound = (error: unknown): boolean => error instanceof JetStreamApiError && error.status === 404;

const requireTaken = (what: string, wanted: object, made: object) => {
  for (const [key, value] of Object.entries(wanted)) {
    if (value === undefined) continue;
    const came = (made as Record<string, unknown>)[key] ?? 0;
    if (JSON.stringify(came) !== JSON.stringify(value)) {
      throw new Error(
        `${what}: the server took ${key} as ${JSON.stringify(came)} instead of ${JSON.stringify(value)}; a newer nats-server is needed`,
      );
    }
  }
};
