import type { Telemetry } from '@understudy/service/telemetry';
import { Counter, Histogram } from 'prom-client';
import type { KeptReport } from './report-index.ts';
import type { Turn } from './turn.ts';

/** Turns what happens here into a log line and a metric, in one place. */
export class Journal {
  readonly #telemetry: Telemetry;
  readonly #verdicts: Counter<'task' | 'verdict'>;
  readonly #looks: Counter<'task'>;
  readonly #seconds: Histogram;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const registers = [telemetry.metrics];
    this.#verdicts = new Counter({
      name: 'understudy_verdicts_total',
      help: 'Verdicts published, repetitions included.',
      labelNames: ['task', 'verdict'],
      registers,
    });
    this.#looks = new Counter({
      name: 'understudy_looks_total',
      help: 'Looks at test pairs that led to a report.',
      labelNames: ['task'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'understudy_evaluation_seconds',
      help: 'Time that judging a student took.',
      buckets: [0.1, 0.3, 1, 3, 10, 30, 100, 300],
      registers,
    });
  }

  judged(turn: Turn, { report, sequence }: KeptReport): void {
    if (report.test) this.#looks.inc({ task: turn.task });
    this.#seconds.observe(report.evaluationMs / 1_000);
    const { reason, morePairs } = report.verdict;
    const facts = {
      look: report.test?.look,
      policy: report.policy,
      evaluationMs: report.evaluationMs,
      reason,
      morePairs,
    };
    this.#telemetry.log.info({ ...about(turn), sequence, ...facts }, 'student judged');
  }

  told(turn: Turn, { report, digest }: KeptReport): void {
    const verdict = report.verdict.passed ? 'passed' : 'failed';
    this.#verdicts.inc({ task: turn.task, verdict });
    this.#telemetry.log.info({ ...about(turn), verdict, reportDigest: digest }, 'verdict published');
  }

  dropped(turn: Turn): void {
    this.#telemetry.log.info(about(turn), 'the run was cancelled, its student is not judged');
  }
}

const about = ({ runId, task, seal, student }: Turn) => ({ runId, task, seal, studentDigest: student.digest });
