/** What training across folds found: pairs whose answer a student that did not learn from them would not give. */
import { z } from 'zod';

const Folds = z.strictObject({
  version: z.literal(1),
  folds: z.int().min(2),
  /** Train pairs that were predicted. */
  pairs: z.int().min(0),
  /** Of them: those predicted as they are answered. */
  agreeing: z.int().min(0),
  /** Those predicted otherwise with confidence, the most confident first. Answers are canonical JSON. */
  suspects: z.array(z.strictObject({ pairId: z.string(), answer: z.string(), confidence: z.number().min(0).max(1) })),
});
export type Folds = z.infer<typeof Folds>;

/** @throws ZodError or SyntaxError when the text is nothing of the kind */
export const parseFolds = (json: string): Folds => Folds.parse(JSON.parse(json));
