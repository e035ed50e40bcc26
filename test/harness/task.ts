import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { texts } from '../fakes/answers.ts';

export const labels = ['billing', 'shipping', 'access'] as const;

export interface TaskOptions {
  name: string;
  folder: string;
  prompts: number;
  teacher: object;
  budget?: { calls: number; usd: number };
  goal?: object;
  batches?: object;
  recordTraffic?: boolean;
  /** What the prompts say, where it is not `texts(prompts)`. */
  texts?: readonly string[];
  /** Further parts of the task. */
  parts?: object;
}

/**
 * Of a few hundred answers a student learns this task well enough to err in 0 to 8 of 200. The goal is far below it: a verdict
 * should not hang on a few test pairs, which another processor's rounding may turn.
 */
const goal = { agreement: 0.8, coverage: 0.5, sizeBytes: 20_000_000, latencyMs: 1_000 };

/** A task that students learn: short messages in a JSONL file, one of three labels each. */
export const routingTask = (options: TaskOptions): object => {
  const path = join(options.folder, `${options.name}.jsonl`);
  writeFileSync(
    path,
    (options.texts ?? texts(options.prompts)).map((text) => `${JSON.stringify({ text })}\n`).join(''),
  );
  return {
    name: options.name,
    input: { fields: ['text'] },
    prompt: { instructions: 'Which team handles this message?', template: '{{text}}', maxCharacters: 200 },
    output: {
      schema: {
        type: 'object',
        properties: { team: { enum: [...labels] } },
        required: ['team'],
        additionalProperties: false,
      },
    },
    teacher: options.teacher,
    sources: [{ kind: 'jsonl', path }],
    budget: options.budget ?? { calls: options.prompts * 2, usd: 1_000 },
    goal: options.goal ?? goal,
    batches: options.batches ?? { first: options.prompts },
    recordTraffic: options.recordTraffic ?? true,
    ...options.parts,
  };
};

/** The fake teacher over the bus. */
export const natsTeacher = { kind: 'nats', subject: 'models.fake', model: 'fake', rate: { concurrency: 10_000 } };
/** The fake teacher over HTTP. */
export const openAiTeacher = (baseUrl: string) => ({
  kind: 'openai',
  baseUrl,
  model: 'fake',
  rate: { concurrency: 10_000 },
});
