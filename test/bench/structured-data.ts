/** Texts with intents and slots, in a folder of `fold*.json`: an output schema made from them, and their answers under it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HeadTarget } from '@understudy/student';
import { canonicalJson, type OutputPlan, outputPlan } from '@understudy/task';
import { z } from 'zod';

const INTENTS = 'intents';

const Records = z.array(
  z.object({
    text: z.string().min(1),
    [INTENTS]: z.array(z.string()).default([]),
    slots: z.record(z.string(), z.object({ text: z.string().min(1) })).default({}),
  }),
);

/** A text, and the answer that the file gives to it. */
export type Answered = { readonly text: string; readonly answerJson: string; readonly target: readonly HeadTarget[] };

export type Data = {
  readonly plan: OutputPlan;
  /** By file. */
  readonly folds: readonly (readonly Answered[])[];
  /** Answers that copy what is not in their text. */
  readonly unlearnable: number;
};

/** `fold2` before `fold10`. */
const numberOf = (name: string): number => Number(/\d+/.exec(name)?.[0] ?? 0);

/**
 * Reads a folder of such files. The answer to a text is an object: `intents`, an array of those that occur anywhere, and
 * for each slot that occurs anywhere a string that is copied from the text, or left out.
 */
export function readData(folder: string): Data {
  const names = readdirSync(folder).filter((name) => /^fold\d+\.json$/.test(name));
  if (names.length === 0) throw new Error(`${folder} has no fold*.json`);
  names.sort((a, b) => numberOf(a) - numberOf(b));
  const files = names.map((name) => Records.parse(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
  const records = files.flat();
  const intents = [...new Set(records.flatMap((record) => record[INTENTS]))].sort();
  const slots = [...new Set(records.flatMap((record) => Object.keys(record.slots)))].sort();
  const copied = { type: 'string', 'x-copied-from': 'text' };
  const plan = outputPlan({
    type: 'object',
    properties: {
      ...Object.fromEntries(slots.map((slot) => [slot, copied])),
      [INTENTS]: { type: 'array', uniqueItems: true, items: { enum: intents } },
    },
    required: [INTENTS],
    additionalProperties: false,
  });
  let unlearnable = 0;
  const folds = files.map((file) =>
    file.flatMap(({ text, intents, slots }) => {
      const copies = Object.entries(slots).map(([slot, { text }]) => [slot, text]);
      const answerJson = canonicalJson({ intents: [...new Set(intents)], ...Object.fromEntries(copies) });
      const encoded = plan.encode(answerJson, text);
      if (!encoded.ok) unlearnable += 1;
      return encoded.ok ? [{ text, answerJson, target: encoded.values.map((value) => ({ value })) }] : [];
    }),
  );
  return { plan, folds, unlearnable };
}
