import { openBundle } from '@understudy/student/bundle';
import { headsOf } from '@understudy/student/description';
import { singleOf } from '@understudy/student/heads/layout';
import { decide, type Policy, parsePolicy } from '@understudy/student/policy';
import { StudentModel } from '@understudy/student/student-model';
import type { OutputPlan } from '@understudy/task/output/head';
import { outputPlan } from '@understudy/task/output/plan';
import type { Predictions, StudentMaterial } from './protocol.ts';

/** A student with the policy that says when to believe it. Occupies the thread it runs on. */
export class Predictor {
  readonly #model: StudentModel;
  readonly #policy: Policy;
  readonly #plan: OutputPlan;
  readonly #labelIndices: ReadonlyMap<string | undefined, number>;

  private constructor(model: StudentModel, policy: Policy, plan: OutputPlan) {
    this.#model = model;
    this.#policy = policy;
    this.#plan = plan;
    const labels = plan.single?.labels ?? [];
    this.#labelIndices = new Map(labels.map((_, index) => [plan.decode([{ kind: 'choice', index }], ''), index]));
  }

  /**
   * Verifies, loads and warms a student.
   * @throws Error (BundleError among others) when bundle, policy and task do not belong together, or do not run here
   */
  static async open(material: StudentMaterial): Promise<Predictor> {
    const bundle = await openBundle(material.bundle, material.studentDigest);
    const policy = parsePolicy(material.policyJson);
    requireSame('the digest of the student', material.studentDigest, { policy: policy.studentDigest });
    const { field, labels } = material;
    const single = singleOf(headsOf(bundle.description));
    requireSame('the output field', field, { policy: policy.heads[0]?.name, student: single?.field });
    requireSame('the labels', labels, { student: single?.labels });
    const schema = {
      type: 'object',
      properties: { [field]: { enum: labels } },
      required: [field],
      additionalProperties: false,
    };
    const model = await StudentModel.load(bundle, { threads: material.threads });
    const predictor = new Predictor(model, policy, outputPlan(schema));
    await predictor.#warmUp(material.warmUpTexts);
    return predictor;
  }

  async predict(texts: readonly string[]): Promise<Predictions> {
    const results = await this.#model.predict(texts);
    const predictions: Predictions = {
      labels: new Uint16Array(texts.length),
      confidences: new Float64Array(texts.length),
      sure: new Uint8Array(texts.length),
      tokens: new Uint32Array(texts.length),
    };
    results.forEach((result, index) => {
      const { answer, confidence, confident } = decide(result, this.#policy, this.#plan, texts[index]!);
      predictions.labels[index] = this.#labelIndices.get(answer)!;
      predictions.confidences[index] = confidence;
      predictions.sure[index] = confident ? 1 : 0;
      predictions.tokens[index] = this.#model.countTokens(texts[index]!);
    });
    return predictions;
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
