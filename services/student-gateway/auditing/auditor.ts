import { AuditOutcome, DeclineReason, type Pair, Purpose } from '@understudy/contract';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import type { Publisher } from '@understudy/service/bus/publish';
import { messageOf } from '@understudy/service/errors';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import type { Logger } from '@understudy/service/telemetry';
import { auditPolicyOf } from '@understudy/task';
import type { ServedTask } from '../deployments/serving.ts';
import { auditTimeoutMs, budgetRetryAfterMs, maxAuditsInFlight } from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import { Pace } from './pace.ts';

/** A student's answer that was drawn for a check. */
export interface Judged {
  served: ServedTask;
  answerJson: string;
  confidence: number;
  propensity: number;
}

export interface Check {
  requestId: string;
  inputJson: string;
  judged: readonly Judged[];
  /** What the teacher was asked for this request anyway, by which version of the task: asked just now, not found. */
  known: { pair: Pair; taskDigest: string } | undefined;
}

export interface AuditorOptions {
  /** `host:port` of a teacher gateway; without it only what the teacher answered anyway is compared. */
  address: string | undefined;
  token: string | undefined;
  metrics: Metrics;
  log: Logger;
}

type Reply = { pair: Pair; outcome?: undefined } | { pair?: undefined; outcome: AuditOutcome };

/**
 * Compares students' answers with the teacher's behind the clients' backs, and tells what came of it. The teacher is asked afresh, out of the
 * task's budget for audits. More than a few at once, or more than the day's pace allows, are left out: none of that depends on an answer.
 */
export class Auditor {
  readonly #options: AuditorOptions;
  readonly #teacher: RpcClient<typeof TeacherGatewayService> | undefined;
  readonly #paces = new Map<string, Pace>();
  /** Tasks whose budget is spent, and when to look again. */
  readonly #spentUntilMs = new Map<string, number>();
  #publisher: Publisher | undefined;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: AuditorOptions) {
    this.#options = options;
    const { address, token } = options;
    this.#teacher = address === undefined ? undefined : createClient(TeacherGatewayService, { address, token });
  }

  /** The bus is there. */
  connect(publisher: Publisher): void {
    this.#publisher = publisher;
  }

  /** Takes a check, or leaves it out; returns at once. */
  check(check: Promise<Check | undefined>): void {
    if (!this.#publisher || this.#underWay.size >= maxAuditsInFlight) {
      this.#options.metrics.audits.inc({ outcome: 'left-out' });
      void check.catch(() => {}); // its student failed, which the session has told of
      return;
    }
    const work = this.#work(this.#publisher, check)
      .catch((error) => this.#options.log.warn({ error: messageOf(error) }, 'an answer could not be checked'))
      .finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
  }

  /** Finishes what is under way. */
  async stop(): Promise<void> {
    await Promise.all(this.#underWay);
    this.#teacher?.close();
  }

  async #work(publisher: Publisher, drawn: Promise<Check | undefined>): Promise<void> {
    const check = await drawn;
    if (!check || check.judged.length === 0) return;
    const replies = new Map<string, Promise<Reply | undefined>>();
    if (check.known) replies.set(check.known.taskDigest, Promise.resolve({ pair: check.known.pair }));
    for (const judged of check.judged) {
      const { taskDigest } = judged.served.deployment;
      const asking = replies.get(taskDigest) ?? this.#ask(judged.served, check.inputJson);
      replies.set(taskDigest, asking);
      const reply = await asking;
      if (reply) await this.#tell(publisher, check, judged, reply);
    }
  }

  /** Undefined where the pace or the budget says no. */
  async #ask({ deployment, task }: ServedTask, inputJson: string): Promise<Reply | undefined> {
    const { task: name, taskDigest } = deployment;
    const nowMs = performance.now();
    if (!this.#teacher || nowMs < (this.#spentUntilMs.get(name) ?? 0)) return undefined;
    const { callsPerDay } = auditPolicyOf(task.task);
    const key = `${name} ${callsPerDay}`;
    const pace = this.#paces.get(key) ?? new Pace(callsPerDay, nowMs);
    this.#paces.set(key, pace);
    if (!pace.take(nowMs)) {
      this.#options.metrics.audits.inc({ outcome: 'left-out' });
      return undefined;
    }
    const request = { task: name, taskDigest, inputJson, purpose: Purpose.AUDIT };
    const { outcome } = await this.#teacher.ask(request, { timeoutMs: auditTimeoutMs });
    if (outcome.case === 'pair') return { pair: outcome.value };
    if (outcome.value?.reason !== DeclineReason.BUDGET) return { outcome: AuditOutcome.UNANSWERED };
    this.#spentUntilMs.set(name, nowMs + budgetRetryAfterMs);
    return { outcome: AuditOutcome.BUDGET_SPENT };
  }

  async #tell(publisher: Publisher, check: Check, judged: Judged, { pair, outcome }: Reply): Promise<void> {
    const { deployment, task } = judged.served;
    const agrees = pair && task.output.agreement(judged.answerJson, pair.answerJson).whole;
    const found = outcome ?? (agrees ? AuditOutcome.AGREED : AuditOutcome.DISAGREED);
    this.#options.metrics.audits.inc({ outcome: AuditOutcome[found].toLowerCase() });
    const isNew = pair !== undefined && pair !== check.known?.pair;
    await publisher.publish({
      type: 'answer.audited',
      entity: `${check.requestId}:${deployment.servingGeneration}`,
      payload: {
        task: deployment.task,
        taskDigest: deployment.taskDigest,
        requestId: check.requestId,
        studentDigest: deployment.studentDigest,
        servingGeneration: deployment.servingGeneration,
        propensity: judged.propensity,
        outcome: found,
        confidence: judged.confidence,
        fingerprint: pair?.fingerprint ?? '',
        at: { seconds: BigInt(Math.floor(Date.now() / 1_000)) },
        ...(isNew && task.task.recordTraffic ? { pair } : {}),
      },
    });
  }
}
