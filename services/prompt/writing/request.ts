import type { CanonicalInput, CompiledTask, Source } from '@understudy/task';
import { randomOf } from '@understudy/task/grammar';
import { SHOWN_CHARACTERS, SHOWN_EARLIER, SHOWN_EXAMPLES } from '../limits.ts';

export type WrittenSource = Extract<Source, { kind: 'written' }>;

/** What a teacher is told and asked when it is to write inputs. */
export interface WritingWords {
  instructions: string;
  text: string;
}

/**
 * The words of call number `call` (from 0): other examples, another answer and other attributes each time, and some of what was
 * written before, to keep away from. The same for the same arguments.
 */
export function writingWords(
  compiled: CompiledTask,
  source: WrittenSource,
  call: number,
  earlier: readonly CanonicalInput[],
  inputs: number,
): WritingWords {
  const random = randomOf(call);
  const answer = turn(wantedAnswers(compiled), call);
  return {
    instructions: instructionsOf(compiled, source),
    text: [
      'Real inputs:',
      ...shownExamples(compiled, answer, random).map(({ input }) => line(input)),
      ...kept(earlier, random),
      '',
      `Request ${call + 1}: write ${inputs} new inputs, as different from each other and from those above as real ones are, as JSON: {"inputs":[${line(compiled.task.examples[0]?.input ?? {})}, …]}`,
      `The right answer to each of them should be ${answer}.`,
      ...Object.entries(source.attributes).map(
        ([name, values]) => `${name}: ${values[Math.floor(random() * values.length)]}`,
      ),
    ].join('\n'),
  };
}

function instructionsOf({ task }: CompiledTask, { about }: WrittenSource): string {
  return [
    'You write inputs for another system, which has the job below. Do not do its job: write what people would send to it.',
    `The job: ${task.prompt.instructions}`,
    ...(about === '' ? [] : [`About the inputs: ${about}`]),
    'Answer with one JSON object and nothing else.',
  ].join('\n\n');
}

/** Answers that inputs are asked for, in turn: every label, or where the output is more than a label, the examples' answers. */
function wantedAnswers({ task, output, parseAnswer }: CompiledTask): string[] {
  const { single } = output;
  if (single) return single.labels.map((label) => JSON.stringify({ [single.field]: label }));
  const answers = task.examples.flatMap((example) => {
    const parsed = parseAnswer(JSON.stringify(example.output));
    return parsed.ok ? [parsed.answer] : [];
  });
  return [...new Set(answers)];
}

/** Half of them with the wanted answer, where there are as many; the others show how far inputs may differ. */
function shownExamples({ task, parseAnswer }: CompiledTask, answer: string | undefined, random: () => number) {
  const order = shuffled(task.examples, random);
  const fitting = order.filter((example) => {
    const parsed = parseAnswer(JSON.stringify(example.output));
    return parsed.ok && parsed.answer === answer;
  });
  const first = fitting.slice(0, SHOWN_EXAMPLES / 2);
  return [...first, ...order.filter((example) => !first.includes(example))].slice(0, SHOWN_EXAMPLES);
}

function kept(earlier: readonly CanonicalInput[], random: () => number): string[] {
  if (earlier.length === 0) return [];
  const shown = shuffled(earlier, random).slice(0, SHOWN_EARLIER);
  return ['', 'These exist already; do not repeat or reword them:', ...shown.map(line)];
}

/** An input as JSON on one line, long fields cut. */
const line = (input: Readonly<Record<string, string>>): string =>
  JSON.stringify(
    Object.fromEntries(Object.entries(input).map(([field, text]) => [field, text.slice(0, SHOWN_CHARACTERS)])),
  );

const turn = <T>(items: readonly T[], call: number): T | undefined => items[call % items.length];

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => [random(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}
