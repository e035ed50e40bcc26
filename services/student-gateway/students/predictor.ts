import { openBundle } from '@understudy/student/bundle';
import { headsOf } from '@understudy/student/description';
import { decide, type Policy, parsePolicy } from '@understudy/student/policy';
import { StudentModel } from '@understudy/student/student-model';
import { canonicalJson } from '@understudy/task/canonical';
import type { OutputPlan } from '@understudy/task/output/head';
import { outputPlan } from '@understudy/task/output/plan';
import type { Predictions, StudentMaterial } from './protocol.ts';

/** A student with the policy that says when to believe it. Occupies the thread it runs on. */
export class Predictor {
  readonly #model: StudentModel;
  readonly #policy: Policy;
  readonly #plan: OutputPlan;

  private constructor(model: StudentModel, policy: Policy, plan: OutputPlan) {
    this.#model = model;
    this.#policy = policy;
    this.#plan = plan;
  }

  /**
   * Verifies, loads and warms a student.
   * @throws Error (BundleError among others) when bundle, policy and task do not belong together, or do not run here
   */
  static async open(material: StudentMaterial): Promise<Predictor> {
    const bundle = await openBundle(material.bundle, material.studentDigest);
    const policy = parsePolicy(material.policyJson);
    requireSame('the digest of the student', material.studentDigest, { policy: policy.studentDigest });
    const plan = outputPlan(material.outputSchema);
    const names = plan.heads.map(({ name }) => name);
    const student = headsOf(bundle.description);
    requireSame('the output fields', names, {
      policy: policy.heads.map(({ name }) => name),
      student: student.map(({ name }) => name),
    });
    for (const [index, head] of plan.heads.entries()) {
      requireSame(`the field ${head.name}`, canonicalJson(head), { student: canonicalJson(student[index]) });
    }
    const model = await StudentModel.load(bundle, { threads: material.threads });
    const predictor = new Predictor(model, policy, plan);
    await predictor.#warmUp(material.warmUpTexts);
    return predictor;
  }

  async predict(texts: readonly string[]): Promise<Predictions> {
    const results = await this.#model.predict(texts);
    const decisions = results.map((result, index) => decide(result, this.#policy, this.#plan, texts[index]!));
    return {
      answers: decisions.map(({ answer }) => answer),
      confidences: Float64Array.from(decisions, ({ confidence }) => confidence),
      sure: Uint8Array.from(decisions, ({ confident }) => (confident ? 1 : 0)),
      tokens: Uint32Array.from(texts, (text) => this.#model.countTokens(text)),
    };
  }

  close(): Promise<void> {
    return this.#model.release();
  }

  /** Sizes the session's memory and lets both compilers see the code, before the first client does. */
  async #warmUp(texts: readonly string[]): Promise<void> {
    for (let round = 0; round < warmUpRounds; round += 1) {
      await this.predict(texts);
      for (const text of texts) await this.predict([text]);
    }
  }
}

/** After so many rounds of batches and single texts a call takes as long as any later one. */
const warmUpRounds = 10;

const requireSame = (what: string, task: unknown, others: Record<string, unknown>): void => {
  for (const [whose, value] of Object.entries(others)) {
    if (JSON.stringify(value) === JSON.stringify(task)) continue;
    throw new Error(`${what}: the deployment has ${JSON.stringify(task)}, its ${whose} ${JSON.stringify(value)}`);
  }
};
