import type { Task } from './schema.ts';
import { parseTask } from './validate.ts';

/** The schema of an answer that is one label. */
export const labelSchema = (labels: readonly string[]) => ({
  type: 'object',
  properties: { label: { enum: labels } },
  required: ['label'],
  additionalProperties: false,
});

/** A small valid task; `change` replaces top-level keys. */
export const testTask = (change: Record<string, unknown> = {}): Task =>
  parseTask(
    JSON.stringify({
      name: 'triage',
      input: { fields: ['text'] },
      prompt: { instructions: 'Sort mail.', template: '{{text}}', maxCharacters: 500 },
      output: { schema: labelSchema(['ham', 'spam']) },
      teacher: { kind: 'nats', subject: 'models.test', model: 'm' },
      budget: { calls: 10, usd: 0 },
      goal: { agreement: 0.9 },
      ...change,
    }),
  );
