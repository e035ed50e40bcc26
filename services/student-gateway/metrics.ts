import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Serving } from './deployments/serving.ts';

/** From a tenth of a millisecond (an idle student) to half a minute (a slow teacher). */
const secondsBuckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Narrow where thresholds lie. */
const confidenceBuckets = [0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 1];

/** Who answered, as labels and headers say it. */
export type AnswererName = 'student' | 'teacher' | 'student-unsure';

/** What the gateway counts. Labels are tasks that are served and a few fixed words, never anything a client sends. */
export class Metrics {
  readonly answers: Counter<'task' | 'answerer'>;
  readonly seconds: Histogram<'task' | 'answerer'>;
  readonly confidence: Histogram<'task'>;
  readonly failures: Counter<'kind'>;
  readonly passed: Counter<'outcome'>;
  readonly generation: Gauge<'task'>;
  readonly deploymentFailures: Counter<'task'>;
  readonly studentRestarts: Counter<'task'>;
  readonly audits: Counter<'outcome'>;
  readonly trafficDropped: Counter;
  readonly trafficSpilledBytes: Gauge;

  constructor(registry: Registry, serving: Serving) {
    const registers = [registry];
    const named = (name: string, help: string) => ({ name: `understudy_gateway_${name}`, help, registers });
    this.answers = new Counter({ ...named('answers_total', 'Answers given.'), labelNames: ['task', 'answerer'] });
    this.seconds = new Histogram({
      ...named('answer_seconds', 'From a parsed request to its answer.'),
      labelNames: ['task', 'answerer'],
      buckets: secondsBuckets,
    });
    this.confidence = new Histogram({
      ...named('student_confidence', "The student's calibrated confidence, sure or not."),
      labelNames: ['task'],
      buckets: confidenceBuckets,
    });
    this.failures = new Counter({ ...named('failures_total', 'Requests without an answer.'), labelNames: ['kind'] });
    this.passed = new Counter({
      ...named('passed_through_total', 'Exchanges with the upstream, by class of status or how they broke off.'),
      labelNames: ['outcome'],
    });
    this.generation = new Gauge({ ...named('generation', 'Generation that serves.'), labelNames: ['task'] });
    this.deploymentFailures = new Counter({
      ...named('deployment_failures_total', 'Attempts to load a deployment that failed.'),
      labelNames: ['task'],
    });
    this.studentRestarts = new Counter({
      ...named('student_restarts_total', 'Starts of a student whose thread died.'),
      labelNames: ['task'],
    });
    this.audits = new Counter({ ...named('audits_total', 'Answers drawn for a check.'), labelNames: ['outcome'] });
    this.trafficDropped = new Counter(named('traffic_dropped_total', 'Traffic records that were never published.'));
    this.trafficSpilledBytes = new Gauge(named('traffic_spilled_bytes', 'Pairs on disk that wait for the bus.'));
    const depth = new Gauge({
      ...named('queue_depth', 'Requests that wait for a batch.'),
      labelNames: ['task'],
      collect: () => {
        depth.reset();
        for (const { task, student } of serving.all()) depth.set({ task: task.task.name }, student?.depth ?? 0);
      },
    });
  }
}
