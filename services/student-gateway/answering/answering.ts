import { randomUUID } from 'node:crypto';
import type { Pair } from '@understudy/contract';
import { type Span, type Telemetry, traceparentOf } from '@understudy/service/telemetry';
import { InputError } from '@understudy/task';
import type { Auditor, Check, Judged } from '../auditing/auditor.ts';
import type { ServedTask } from '../deployments/serving.ts';
import { badRequest, RequestError } from '../errors.ts';
import type { AnswererName, Metrics } from '../metrics.ts';
import { type Prediction, StudentUnavailableError } from '../students/session.ts';
import type { TrafficRecorder } from '../traffic/recorder.ts';
import { type Draw, draw } from './draw.ts';
import type { Teacher } from './teacher.ts';

/** A client's input in the forms that travel. */
export interface Question {
  inputJson: string;
  text: string;
}

export interface Answer {
  requestId: string;
  /** The task as it was served when the request came. */
  served: ServedTask;
  answerJson: string;
  answerer: AnswererName;
  /** Probability that the answerer gives this answer; undefined where a teacher gives none. */
  confidence: number | undefined;
  /** Tokens that the answerer read and wrote. A student reads bytes and makes one decision a head. */
  promptTokens: number;
  completionTokens: number;
  /** The teacher's pair, where the teacher answered. */
  pair: Pair | undefined;
  /** The pair was asked for just now. */
  fresh: boolean;
}

export interface AnsweringOptions {
  teacher: Teacher;
  traffic: TrafficRecorder;
  auditor: Auditor;
  metrics: Metrics;
  telemetry: Telemetry;
  /** Share of requests without a trace of their own that get one. */
  traceRatio: number;
}

/**
 * @param rule how inputs are sent over the protocol at hand: told with what is wrong
 * @throws RequestError (bad-request)
 */
export const questionOf = ({ task }: ServedTask, input: unknown, rule: string): Question => {
  try {
    const canonical = task.canonicalInput(input);
    return { inputJson: JSON.stringify(canonical), text: task.renderText(canonical) };
  } catch (error) {
    if (error instanceof InputError) throw badRequest(`${error.message}; ${rule}`, error.field);
    throw error;
  }
};

/** The student's answer where it is sure, else the teacher's, else what the task says. */
export class Answering {
  readonly #options: AnsweringOptions;

  constructor(options: AnsweringOptions) {
    this.#options = options;
  }

  /**
   * Answers one question and records the traffic. The text is in the student's queue when this returns its promise.
   * @throws RequestError when nobody can answer
   */
  async answer(wanted: ServedTask, question: Question, parent: string | undefined): Promise<Answer> {
    const startMs = performance.now();
    const drawn = draw(wanted, question);
    const served = drawn.answering;
    const predicting = served.student?.predict(drawn.text);
    const beside = drawn.shadow && this.#beside(drawn.shadow);
    const span = this.#span(served, parent);
    try {
      const prediction = await this.#predicted(served, predicting);
      const answer =
        prediction?.sure && hasAnswer(prediction)
          ? byStudent(served, prediction, 'student')
          : await this.#byTeacher(served, question, prediction, span ? traceparentOf(span) : parent);
      span?.setAttributes({ answerer: answer.answerer, 'answer.confidence': answer.confidence ?? 0 });
      this.#observe(answer, question, performance.now() - startMs, span ? traceparentOf(span) : parent);
      if (drawn.audit !== undefined || beside) this.#options.auditor.check(checkOf(answer, question, drawn, beside));
      return answer;
    } finally {
      span?.end();
    }
  }

  async #predicted(served: ServedTask, predicting: Promise<Prediction> | undefined): Promise<Prediction | undefined> {
    try {
      const prediction = await predicting;
      if (prediction) {
        this.#options.metrics.confidence.observe({ task: served.deployment.task }, prediction.confidence);
        served.confidences.add(prediction.confidence);
      }
      return prediction;
    } catch (error) {
      if (error instanceof StudentUnavailableError) return undefined;
      throw error;
    }
  }

  async #byTeacher(
    served: ServedTask,
    { inputJson }: Question,
    prediction: Prediction | undefined,
    traceparent: string | undefined,
  ): Promise<Answer> {
    const { task, taskDigest } = served.deployment;
    try {
      const { pair, cached } = await this.#options.teacher.ask({ task, taskDigest, inputJson, traceparent });
      return {
        requestId: randomUUID(),
        served,
        answerJson: pair.answerJson,
        answerer: 'teacher',
        confidence: teachersConfidence(served, pair),
        promptTokens: Number(pair.usage?.inputTokens ?? 0),
        completionTokens: Number(pair.usage?.outputTokens ?? 0),
        pair,
        fresh: !cached,
      };
    } catch (error) {
      const allowed = served.task.task.onTeacherUnavailable === 'answer-unsure';
      if (allowed && prediction && hasAnswer(prediction) && error instanceof RequestError)
        return byStudent(served, prediction, 'student-unsure');
      throw error;
    }
  }

  /** A challenger's prediction, for comparison only: that it fails is no client's trouble. */
  async #beside({ served, text }: NonNullable<Draw['shadow']>): Promise<Prediction | undefined> {
    try {
      return await served.student?.predict(text);
    } catch {
      return undefined; // the session has told of it; there is nothing to compare
    }
  }

  #observe(answer: Answer, question: Question, durationMs: number, traceparent: string | undefined): void {
    const { metrics, traffic } = this.#options;
    const labels = { task: answer.served.deployment.task, answerer: answer.answerer };
    metrics.answers.inc(labels);
    metrics.seconds.observe(labels, durationMs / 1_000);
    traffic.record({ answer, question, durationMs, atMs: Date.now(), traceparent });
  }

  /** A span where the client traces this request, or by chance; most requests cost nothing here. */
  #span({ deployment }: ServedTask, parent: string | undefined): Span | undefined {
    const traced = parent === undefined ? Math.random() < this.#options.traceRatio : parent.endsWith('1');
    if (!traced) return undefined;
    const attributes = { task: deployment.task, generation: Number(deployment.generation) };
    return this.#options.telemetry.startSpan('answer', parent, attributes);
  }
}

type Answered = Prediction & { answerJson: string };

const hasAnswer = (prediction: Prediction): prediction is Answered => prediction.answerJson !== undefined;

const byStudent = (served: ServedTask, prediction: Answered, answerer: AnswererName): Answer => ({
  requestId: randomUUID(),
  served,
  answerJson: prediction.answerJson,
  answerer,
  confidence: prediction.confidence,
  promptTokens: prediction.tokens,
  completionTokens: served.task.output.heads.length,
  pair: undefined,
  fresh: false,
});

/** Where the answer is one label, and the teacher gives its probability. */
const teachersConfidence = ({ task: { output } }: ServedTask, { soft, answerJson }: Pair): number | undefined => {
  const { single } = output;
  if (!single) return undefined;
  const given = soft.find(({ head }) => head === single.field);
  return given?.probabilities[single.labels.indexOf(JSON.parse(answerJson)[single.field])];
};

/** What there is to compare, once the shadow has predicted. */
const checkOf = async (
  answer: Answer,
  { inputJson }: Question,
  { audit, shadow }: Draw,
  beside: Promise<Prediction | undefined> | undefined,
): Promise<Check> => {
  const judged: Judged[] = [];
  const add = ({ served, answerJson, confidence = 0 }: Answer, propensity: number) =>
    judged.push({ served, answerJson, confidence, propensity });
  if (audit !== undefined && answer.answerer === 'student') add(answer, audit);
  const prediction = await beside;
  if (shadow && prediction?.sure && hasAnswer(prediction))
    add(byStudent(shadow.served, prediction, 'student'), shadow.propensity);
  const { requestId, pair, fresh, served } = answer;
  const known = pair && fresh ? { pair, taskDigest: served.deployment.taskDigest } : undefined;
  return { requestId, inputJson, judged, known };
};
