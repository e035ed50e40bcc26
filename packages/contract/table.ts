/**
 * The one table of the bus: streams, event types, who publishes them, and durable consumers with their limits.
 * Nothing else in the repository spells a subject. NATS permissions, the AsyncAPI document and the
 * provisioning of a cluster are derived from it.
 */
import type { DescMessage } from '@bufbuild/protobuf';
import {
  AnswerAuditedSchema,
  BatchClosedSchema,
  CallObservedSchema,
  ConfidencesCountedSchema,
  DeadLetteredSchema,
  EvalFailedSchema,
  EvalPassedSchema,
  PairsGatheredSchema,
  PairsSealedSchema,
  PromptSubmittedSchema,
  RunCancelledSchema,
  RunFinishedSchema,
  RunRequestedSchema,
  StudentDemotedSchema,
  StudentPromotedSchema,
  StudentStagedSchema,
  StudentTrainedSchema,
  TeacherAnsweredSchema,
  TeacherDeclinedSchema,
  TeacherDriftedSchema,
  TrafficObservedSchema,
  TrafficShiftedSchema,
  TrainingProgressedSchema,
} from './gen/understudy/event/v1/facts_pb.js';

export const serviceNames = [
  'prompt',
  'teacher-gateway',
  'pair-store',
  'trainer',
  'evaluator',
  'deployer',
  'student-gateway',
] as const;
export type ServiceName = (typeof serviceNames)[number];

/** Teacher kinds; each has a consumer of its own, so that a slow teacher never holds up another. */
export const teacherKinds = ['embedded', 'openai', 'anthropic', 'onnx', 'nats'] as const;
export type TeacherKind = (typeof teacherKinds)[number];

const second = 1_000;
const day = 24 * 60 * 60 * second;
const mebibyte = 1024 * 1024;

export interface StreamSpec {
  /** Prompts are a work queue: a message is gone once it is acknowledged. Facts stay until a limit is reached. */
  retention: 'workqueue' | 'limits';
  /** When full: refuse what is new (nothing that was accepted is lost), or drop what is old. */
  discard: 'new' | 'old';
  maxBytes: number;
  /** 0 = for ever. */
  maxAgeMs: number;
  /** Publish retries within this window are stored once. */
  duplicateWindowMs: number;
}

export const streams = {
  // A prompt is about 1 KiB: room for a few hundred thousand waiting prompts.
  PROMPTS: {
    retention: 'workqueue',
    discard: 'new',
    maxBytes: 1024 * mebibyte,
    maxAgeMs: 0,
    duplicateWindowMs: 120 * second,
  },
  // A week is longer than the longest outage that is survived without a replay from the pair store.
  FACTS: {
    retention: 'limits',
    discard: 'old',
    maxBytes: 4096 * mebibyte,
    maxAgeMs: 7 * day,
    duplicateWindowMs: 120 * second,
  },
  // Live traffic has a stream of its own: a flood of requests must not push a run's facts out.
  TRAFFIC: {
    retention: 'limits',
    discard: 'old',
    maxBytes: 1024 * mebibyte,
    maxAgeMs: day,
    duplicateWindowMs: 10 * second,
  },
  // A person looks at these; a month lets them be on holiday.
  DEAD_LETTERS: {
    retention: 'limits',
    discard: 'new',
    maxBytes: 512 * mebibyte,
    maxAgeMs: 30 * day,
    duplicateWindowMs: 120 * second,
  },
  // The server's notices that a message was given up on; swept into DEAD_LETTERS.
  ADVISORIES: {
    retention: 'limits',
    discard: 'old',
    maxBytes: 64 * mebibyte,
    maxAgeMs: 7 * day,
    duplicateWindowMs: 120 * second,
  },
  // Which questions replicas of the teacher gateway ask just now, in one order for all of them; twice as long as a claim lives.
  // On disk like all others: a server that starts again forgets streams that it has in memory only.
  CLAIMS: {
    retention: 'limits',
    discard: 'old',
    maxBytes: 64 * mebibyte,
    maxAgeMs: 20 * second,
    duplicateWindowMs: 20 * second,
  },
} as const satisfies Record<string, StreamSpec>;
export type StreamName = keyof typeof streams;

/** What the ADVISORIES stream holds. */
export const advisorySubject = '$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>';

export interface EventSpec<D extends DescMessage = DescMessage> {
  schema: D;
  /** Version of the type, part of `ce-type`; a receiver that knows only older ones waits for its update. */
  version: number;
  stream: StreamName;
  publishers: readonly ServiceName[];
  summary: string;
}

const event = <D extends DescMessage>(
  schema: D,
  stream: StreamName,
  publishers: readonly ServiceName[],
  summary: string,
): EventSpec<D> => ({ schema, version: 1, stream, publishers, summary });

export const events = {
  'run.requested': event(RunRequestedSchema, 'FACTS', ['prompt'], 'Someone wants a run of a task.'),
  'prompt.submitted': event(PromptSubmittedSchema, 'PROMPTS', ['prompt'], 'A prompt waits for its teacher.'),
  'batch.closed': event(BatchClosedSchema, 'FACTS', ['prompt'], 'No further prompt belongs to this batch.'),
  'teacher.answered': event(TeacherAnsweredSchema, 'FACTS', ['teacher-gateway'], 'The teacher gave a valid answer.'),
  'teacher.declined': event(TeacherDeclinedSchema, 'FACTS', ['teacher-gateway'], 'The teacher gave none.'),
  'pairs.sealed': event(PairsSealedSchema, 'FACTS', ['pair-store'], 'The pairs of a run are frozen.'),
  'training.progressed': event(TrainingProgressedSchema, 'FACTS', ['trainer'], 'How training goes on.'),
  'student.trained': event(StudentTrainedSchema, 'FACTS', ['trainer'], 'The best student of a snapshot.'),
  'eval.passed': event(EvalPassedSchema, 'FACTS', ['evaluator'], 'Agreement is proven.'),
  'eval.failed': event(EvalFailedSchema, 'FACTS', ['evaluator'], 'Agreement is not proven.'),
  'student.promoted': event(StudentPromotedSchema, 'FACTS', ['deployer'], 'A deployment moved to a student.'),
  'student.demoted': event(StudentDemotedSchema, 'FACTS', ['deployer'], 'A deployment moved back.'),
  'student.staged': event(StudentStagedSchema, 'FACTS', ['deployer'], 'A proven student is on its way.'),
  'teacher.drifted': event(TeacherDriftedSchema, 'FACTS', ['deployer'], 'The teacher is not what it was.'),
  'traffic.shifted': event(TrafficShiftedSchema, 'FACTS', ['deployer'], 'Clients ask other things than before.'),
  'pairs.gathered': event(PairsGatheredSchema, 'FACTS', ['deployer'], 'Another student may be better.'),
  'run.cancelled': event(RunCancelledSchema, 'FACTS', ['prompt'], 'Nobody shall spend on this run any more.'),
  'run.finished': event(RunFinishedSchema, 'FACTS', ['prompt'], 'A run is over.'),
  'traffic.observed': event(TrafficObservedSchema, 'TRAFFIC', ['student-gateway'], 'A client was answered.'),
  'call.observed': event(CallObservedSchema, 'TRAFFIC', ['student-gateway'], 'A call passed through.'),
  'answer.audited': event(AnswerAuditedSchema, 'TRAFFIC', ['student-gateway'], 'An answer was checked.'),
  'confidences.counted': event(ConfidencesCountedSchema, 'TRAFFIC', ['student-gateway'], 'How sure a student was.'),
  'message.dead-lettered': event(DeadLetteredSchema, 'DEAD_LETTERS', serviceNames, 'A message nobody could handle.'),
} as const;
export type EventType = keyof typeof events;
export type PayloadOf<T extends EventType> = import('@bufbuild/protobuf').MessageShape<(typeof events)[T]['schema']>;
export type PayloadInit<T extends EventType> = import('@bufbuild/protobuf').MessageInitShape<
  (typeof events)[T]['schema']
>;

export interface ConsumerSpec {
  service: ServiceName;
  stream: StreamName;
  /** Event types it receives, all of one stream. */
  types: readonly EventType[];
  /** For prompt.submitted: the teacher kind it serves. */
  teacher?: TeacherKind;
  /** The server delivers again when a message was neither acknowledged nor kept alive for this long. */
  ackWaitMs: number;
  /** Deliveries before the message becomes a dead letter. */
  maxDeliver: number;
  /** Messages under way at once, over all replicas of the service. */
  maxAckPending: number;
}

const consumer = (
  service: ServiceName,
  stream: StreamName,
  types: readonly EventType[],
  limits: Partial<Pick<ConsumerSpec, 'ackWaitMs' | 'maxDeliver' | 'maxAckPending' | 'teacher'>> = {},
): ConsumerSpec => ({ service, stream, types, ackWaitMs: 10 * second, maxDeliver: 8, maxAckPending: 256, ...limits });

// A call to a teacher may take a minute and is kept alive while it does; enough in flight for many replicas. A prompt whose
// teacher is away goes back to the bus for a quarter of the outage so far, five minutes at most: 28 deliveries in the ten
// minutes after which it is declined, 51 in the two hours that may be set. The others are for what else may go on
// meanwhile: replicas that stop or die, a pair store or blob store that is away.
const asking = { maxDeliver: 64, maxAckPending: 8192 };

export const consumers = {
  'prompt-runs': consumer('prompt', 'FACTS', ['run.requested']),
  'prompt-facts': consumer('prompt', 'FACTS', [
    'batch.closed',
    'pairs.sealed',
    'training.progressed',
    'student.trained',
    'eval.passed',
    'eval.failed',
    'student.promoted',
    'student.staged',
    'run.cancelled',
  ]),
  // May wait for hours, until the task's policy lets another run begin.
  'prompt-policy': consumer('prompt', 'FACTS', ['student.demoted', 'teacher.drifted', 'pairs.gathered'], {
    maxDeliver: 100,
  }),
  'prompt-dead-letters': consumer('prompt', 'DEAD_LETTERS', ['message.dead-lettered']),
  'teacher-gateway-embedded': consumer('teacher-gateway', 'PROMPTS', ['prompt.submitted'], {
    ...asking,
    teacher: 'embedded',
  }),
  'teacher-gateway-openai': consumer('teacher-gateway', 'PROMPTS', ['prompt.submitted'], {
    ...asking,
    teacher: 'openai',
  }),
  'teacher-gateway-anthropic': consumer('teacher-gateway', 'PROMPTS', ['prompt.submitted'], {
    ...asking,
    teacher: 'anthropic',
  }),
  'teacher-gateway-onnx': consumer('teacher-gateway', 'PROMPTS', ['prompt.submitted'], { ...asking, teacher: 'onnx' }),
  'teacher-gateway-nats': consumer('teacher-gateway', 'PROMPTS', ['prompt.submitted'], { ...asking, teacher: 'nats' }),
  'pair-store-answers': consumer('pair-store', 'FACTS', ['teacher.answered', 'teacher.declined'], {
    maxAckPending: 8192,
  }),
  'pair-store-batches': consumer('pair-store', 'FACTS', ['batch.closed', 'run.cancelled']),
  'pair-store-calls': consumer('pair-store', 'TRAFFIC', ['call.observed'], { maxAckPending: 8192 }),
  'pair-store-traffic': consumer('pair-store', 'TRAFFIC', ['traffic.observed', 'answer.audited'], {
    maxAckPending: 8192,
  }),
  'trainer-snapshots': consumer('trainer', 'FACTS', ['pairs.sealed'], { maxAckPending: 16 }),
  'evaluator-students': consumer('evaluator', 'FACTS', ['student.trained'], { maxAckPending: 16 }),
  'deployer-verdicts': consumer('deployer', 'FACTS', ['eval.passed'], { maxAckPending: 16 }),
  'deployer-audits': consumer('deployer', 'TRAFFIC', ['answer.audited', 'confidences.counted']),
} as const satisfies Record<string, ConsumerSpec>;
export type ConsumerName = keyof typeof consumers;

/**
 * Facts every replica of a service must hear (not share): an ephemeral consumer each, over all that the stream still holds. The gateway and
 * the trainer stop spending on cancelled runs because of these, and a replica that starts late knows them too.
 */
export const broadcasts = {
  'teacher-gateway': ['run.cancelled'],
  trainer: ['run.cancelled'],
  evaluator: ['run.cancelled'],
} as const satisfies Partial<Record<ServiceName, readonly EventType[]>>;

export interface BucketSpec {
  owner: ServiceName;
  readers: readonly ServiceName[];
  /** Revisions kept of each key. */
  history: number;
  maxBytes: number;
  /** Keys vanish after this time; 0 = never. */
  ttlMs: number;
}

export const buckets = {
  tasks: { owner: 'prompt', readers: [], history: 16, maxBytes: 256 * mebibyte, ttlMs: 0 },
  runs: { owner: 'prompt', readers: [], history: 1, maxBytes: 256 * mebibyte, ttlMs: 0 },
  ledger: { owner: 'teacher-gateway', readers: [], history: 1, maxBytes: 256 * mebibyte, ttlMs: 0 },
  looks: { owner: 'evaluator', readers: [], history: 1, maxBytes: 64 * mebibyte, ttlMs: 0 },
  reports: { owner: 'evaluator', readers: [], history: 1, maxBytes: 64 * mebibyte, ttlMs: 0 },
  evidence: { owner: 'deployer', readers: [], history: 1, maxBytes: 64 * mebibyte, ttlMs: 0 },
  decisions: { owner: 'deployer', readers: [], history: 1, maxBytes: 256 * mebibyte, ttlMs: 0 },
  deployments: {
    owner: 'deployer',
    readers: ['student-gateway', 'evaluator'],
    history: 16,
    maxBytes: 64 * mebibyte,
    ttlMs: 0,
  },
} as const satisfies Record<string, BucketSpec>;
export type BucketName = keyof typeof buckets;
