import { Answerer } from '@understudy/contract';
import type { OutgoingEvent } from '@understudy/service/bus/event';
import type { Answer, Question } from '../answering/answering.ts';
import type { AnswererName } from '../metrics.ts';

/** One answered request, before it is encoded. */
export interface AnswerRecord {
  answer: Answer;
  question: Question;
  durationMs: number;
  atMs: number;
  traceparent: string | undefined;
}

export const answererCodes: Record<AnswererName, Answerer> = {
  student: Answerer.STUDENT,
  teacher: Answerer.TEACHER,
  'student-unsure': Answerer.STUDENT_UNSURE,
};

/** One call that passed through. */
export interface CallRecord {
  event: OutgoingEvent<'call.observed'>;
  /** Of what was asked and answered, about. */
  bytes: number;
}

export type TrafficRecord = AnswerRecord | CallRecord;

export const bytesOf = (record: TrafficRecord): number => ('bytes' in record ? record.bytes : 0);

/** What was paid for and is wanted kept: worth a place on disk while the bus is away. */
export const holdsPair = (record: TrafficRecord): boolean =>
  'event' in record
    ? record.event.payload.output !== undefined
    : record.answer.pair !== undefined && record.answer.served.task.task.recordTraffic;

/** The fact that is published. */
export const eventOf = (record: TrafficRecord): OutgoingEvent<'traffic.observed' | 'call.observed'> =>
  'event' in record ? record.event : trafficEvent(record);

/** What was asked and answered is in it only where the task records traffic. */
const trafficEvent = (record: AnswerRecord): OutgoingEvent<'traffic.observed'> => {
  const { answer, question, durationMs, atMs, traceparent } = record;
  const { deployment, task } = answer.served;
  const content = task.task.recordTraffic
    ? { inputJson: question.inputJson, answerJson: answer.answerJson, pair: answer.pair }
    : {};
  return {
    type: 'traffic.observed',
    entity: answer.requestId,
    traceparent,
    payload: {
      task: deployment.task,
      taskDigest: deployment.taskDigest,
      requestId: answer.requestId,
      studentDigest: deployment.studentDigest,
      generation: deployment.generation,
      answerer: answererCodes[answer.answerer],
      confidence: answer.confidence ?? 0,
      durationUs: BigInt(Math.round(durationMs * 1_000)),
      at: { seconds: BigInt(Math.floor(atMs / 1_000)), nanos: (atMs % 1_000) * 1_000_000 },
      ...content,
    },
  };
};
