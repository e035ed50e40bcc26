import { Answerer } from '@understudy/contract';
import type { OutgoingEvent } from '@understudy/service/bus/event';
import type { Answer, Question } from '../answering/answering.ts';
import type { AnswererName } from '../metrics.ts';

/** One answered request, before it is encoded. */
export interface TrafficRecord {
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

/** A pair that was paid for and that the task wants kept: worth a place on disk while the bus is away. */
export const holdsPair = ({ answer }: TrafficRecord): boolean =>
  answer.pair !== undefined && answer.served.task.task.recordTraffic;

/** The fact that is published. What was asked and answered is in it only where the task records traffic. */
export const trafficEvent = (record: TrafficRecord): OutgoingEvent<'traffic.observed'> => {
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
