import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { type Decision, DecisionSchema, type Deployment } from '@understudy/contract/deployer';
import { messageOf, RetryableError } from '@understudy/service/errors';

/** The server's code for "this key has a value already". */
const WRONG_LAST_SEQUENCE = 10_071;

/**
 * Everything that was decided about deployments, for good: a key is written once and never again. A decision's id says what it is
 * about, so that one told twice, after a crash or by two deployers, is one entry.
 */
export class Decisions {
  readonly #kv: KV;

  constructor(kv: KV) {
    this.#kv = kv;
  }

  /** @returns false where it is kept already @throws RetryableError while the bucket cannot be reached */
  async keep(decision: Decision): Promise<boolean> {
    const dated = create(DecisionSchema, { ...decision, at: decision.at ?? timestampNow() });
    try {
      await this.#kv.create(keyOf(decision.task, decision.id), toJsonString(DecisionSchema, dated));
      return true;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE) return false;
      throw new RetryableError(`a decision cannot be kept: ${messageOf(error)}`, { cause: error });
    }
  }

  async has(task: string, id: string): Promise<boolean> {
    return (await this.#kv.get(keyOf(task, id)))?.operation === 'PUT';
  }

  /** All of a task's, in the order in which they were kept. */
  async list(task: string): Promise<Decision[]> {
    const entries = await Array.fromAsync(await this.#kv.history({ key: `${task}.>` }));
    return entries
      .filter(({ operation }) => operation === 'PUT')
      .sort((a, b) => a.revision - b.revision)
      .map((entry) => fromJsonString(DecisionSchema, entry.string(), { ignoreUnknownFields: true }));
  }
}

const keyOf = (task: string, id: string): string => `${task}.${id}`;

/** The entry of the move that led to this generation. */
export function decisionOfMove(deployment: Deployment): Decision {
  const { task, generation, since, move, challenger } = deployment;
  const { studentDigest, policyDigest, reportDigest, runId, taskDigest } = deployment;
  const serving = { studentDigest, policyDigest, reportDigest, runId, taskDigest };
  return create(DecisionSchema, {
    task,
    id: moveId(generation),
    at: since,
    action: move?.action ?? '',
    author: move?.author ?? '',
    reason: move?.reason ?? '',
    evidence: move?.evidence,
    generation,
    ...serving,
    challenger,
    aboutStudentDigest: move?.studentDigest ?? '',
    aboutReportDigest: move?.reportDigest ?? '',
  });
}

export const moveId = (generation: bigint): string => `move-${generation}`;
