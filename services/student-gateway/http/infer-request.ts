import type { Task } from '@understudy/task';
import { z } from 'zod';
import { badRequest } from '../errors.ts';
import { maxInferRows } from '../limits.ts';

const tensor = z.object({
  name: z.string(),
  datatype: z.literal('BYTES', { error: 'expected "BYTES": inputs are texts' }),
  shape: z.array(z.int().min(0)).min(1).max(2),
  data: z.array(z.string()),
});

const inferRequest = z.object({
  id: z.string().max(256).optional(),
  inputs: z.array(tensor).min(1),
});

export interface InferRequest {
  id: string | undefined;
  /** The task's inputs, one a row. */
  rows: Record<string, string>[];
}

/** How inputs are sent, for error messages. */
export const inferRuleOf = ({ name, input: { fields } }: Task): string =>
  `task ${name} takes one BYTES tensor of shape [rows] for each of ${fields.join(', ')}`;

/** @throws RequestError (bad-request) naming the tensor */
export const readInferRequest = (task: Task, body: unknown): InferRequest => {
  const parsed = inferRequest.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const path = issue!.path.join('.');
    throw badRequest(`${path === '' ? 'the body' : path}: ${issue!.message}; ${inferRuleOf(task)}`, path);
  }
  const { id, inputs } = parsed.data;
  const rows = inputs[0]!.data.length;
  if (rows < 1 || rows > maxInferRows)
    throw badRequest(`inputs: expected 1 to ${maxInferRows} rows, came ${rows}`, 'inputs');
  for (const { name, shape, data } of inputs) {
    if (shape.reduce((product, size) => product * size, 1) === data.length && data.length === rows) continue;
    throw badRequest(`input ${name}: expected ${rows} texts and a shape that says so; ${inferRuleOf(task)}`, 'inputs');
  }
  const columns = new Map(inputs.map(({ name, data }) => [name, data]));
  if (columns.size < inputs.length) throw badRequest('inputs: expected distinct names', 'inputs');
  return {
    id,
    rows: Array.from({ length: rows }, (_, row) =>
      Object.fromEntries([...columns].map(([name, data]) => [name, data[row]!])),
    ),
  };
};
