/**
 * `npm run bench written -- --url URL --model NAME [--data DIR] [--seeds N] [--wanted N] [--key-env NAME]`: inputs that a model writes
 * from a few seeds, behind any server of OpenAI's API: how many of them are new. Seeds are N texts (30) of `train.csv` (`text,category`)
 * in DIR, or N of the example task's mails. The path is the service's own, without its bus: the same words, connector and tests of what is new.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { relevanceTo } from '@understudy/prompt/relevance';
import type { WritingWords, WrittenSource } from '@understudy/prompt/writing/request';
import { type WritingAnswer, type WritingDesk, writeInputs } from '@understudy/prompt/writing/writing';
import { AddressRules } from '@understudy/service/outbound';
import { seededOrder } from '@understudy/student/random';
import { type CompiledTask, compileTask, type Example, loadTask, parseTask } from '@understudy/task';
import { writerOf } from '@understudy/teacher-gateway/teachers/open-teacher';
import { createOpenAiTeacher } from '@understudy/teacher-gateway/teachers/openai';
import { type Teacher, TeacherError } from '@understudy/teacher-gateway/teachers/teacher';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import { median, report } from './report.ts';

const EXAMPLE_TASK = join(import.meta.dirname, '../../examples/email-triage/task.yaml');
const SHOWN = 8;
/** A small model on a slow machine takes minutes for ten inputs. */
const TIMEOUT_MS = 600_000;

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    url: { type: 'string' },
    model: { type: 'string' },
    'key-env': { type: 'string' },
    data: { type: 'string' },
    seeds: { type: 'string', default: '30' },
    wanted: { type: 'string', default: '200' },
    calls: { type: 'string' },
    seed: { type: 'string', default: '1' },
  },
});

const Rows = z.array(z.object({ text: z.string(), category: z.string() })).min(2);

/** What is the same in both tasks: the teacher that writes. */
function teacher(): Record<string, unknown> {
  const { url, model, 'key-env': apiKeyEnv } = options;
  return { kind: 'openai', baseUrl: url, model, timeoutMs: TIMEOUT_MS, ...(apiKeyEnv ? { apiKeyEnv } : {}) };
}

function drawn<T>(items: readonly T[], count: number): T[] {
  return [...seededOrder(Number(options.seed), 'seeds', items.length)]
    .slice(0, count)
    .map((index) => items[index] as T);
}

function taskOfRows(folder: string, seeds: number): CompiledTask {
  const rows = Rows.parse(parse(readFileSync(join(folder, 'train.csv')), { columns: true }));
  const labels = [...new Set(rows.map(({ category }) => category))].sort();
  const examples: Example[] = drawn(rows, seeds).map(({ text, category }) => ({
    input: { text },
    output: { category },
  }));
  return compileTask(
    parseTask(
      JSON.stringify({
        name: 'bench-written',
        input: { fields: ['text'] },
        prompt: { instructions: 'What does this customer of a bank want?', template: '{{text}}', maxCharacters: 1_000 },
        output: {
          schema: {
            type: 'object',
            properties: { category: { enum: labels } },
            required: ['category'],
            additionalProperties: false,
          },
        },
        examples,
        teacher: teacher(),
        budget: { calls: 100_000, usd: 0 },
        goal: { agreement: 0.9 },
      }),
    ),
  );
}

async function exampleTask(seeds: number): Promise<CompiledTask> {
  const task = await loadTask(EXAMPLE_TASK);
  return compileTask(parseTask(JSON.stringify({ ...task, teacher: teacher(), examples: drawn(task.examples, seeds) })));
}

/** Asks the model itself, wherever it is: whoever runs a bench names its address. */
function openDesk({ task }: CompiledTask, durations: number[]): WritingDesk & AsyncDisposable {
  const { teacher } = task;
  if (teacher.kind !== 'openai') throw new TypeError(`expected a teacher of the kind openai, got ${teacher.kind}`);
  const around = { env: process.env, addresses: new AddressRules(['loopback', 'private']) };
  const open = (instructions: string, inputs: number) => {
    const { told, settings } = writerOf({ ...task, teacher }, { instructions, inputs });
    return createOpenAiTeacher(told, settings, around);
  };
  let writer: Teacher | undefined;
  const answerTo = async ({ instructions, text }: WritingWords, inputs: number): Promise<WritingAnswer> => {
    writer ??= open(instructions, inputs);
    try {
      const { content, usage } = await writer.answer({ text }, AbortSignal.timeout(TIMEOUT_MS));
      const { inputTokens, outputTokens, spentUsd, durationMs } = usage;
      durations.push(durationMs);
      process.stderr.write(`call ${durations.length}: ${Math.round(durationMs)} ms, ${outputTokens} tokens\n`);
      return { content, inputTokens, outputTokens, spentMicroUsd: Math.ceil(spentUsd * 1e6), calls: 1 };
    } catch (error) {
      if (!(error instanceof TeacherError)) throw error;
      process.stderr.write(`${error.message}\n`);
      const failure = { detail: error.message, passing: error.retryable };
      return { failure, inputTokens: 0, outputTokens: 0, spentMicroUsd: 0, calls: 1 };
    }
  };
  let state: string | undefined;
  let last: Promise<unknown> = Promise.resolve();
  return {
    // A small server answers one at a time, and no call's time shall run while it waits for others.
    ask: (words, inputs) => {
      const mine = last.then(() => answerTo(words, inputs));
      last = mine.catch(() => {});
      return mine;
    },
    load: async () => state,
    save: async (text) => {
      state = text;
    },
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    [Symbol.asyncDispose]: async () => writer?.[Symbol.asyncDispose](),
  };
}

export async function run(): Promise<void> {
  if (!options.url || !options.model) {
    throw new Error('npm run bench written -- --url http://127.0.0.1:8080/v1 --model NAME [--data DIR with train.csv]');
  }
  const [seeds, wanted] = [Number(options.seeds), Number(options.wanted)];
  const data = options.data;
  if (data && !existsSync(join(data, 'train.csv')))
    throw new Error(`${data}: expected a folder with train.csv (text,category)`);
  const compiled = data ? taskOfRows(data, seeds) : await exampleTask(seeds);
  const source: WrittenSource = { kind: 'written', limit: wanted, about: '', attributes: {} };
  const durations: number[] = [];
  await using desk = openDesk(compiled, durations);
  const maxCalls = Number(options.calls ?? wanted);
  const { records, report: told } = writeInputs(compiled, source, { runId: 'bench', maxCalls }, desk);
  const texts: string[] = [];
  for await (const record of records) {
    if ('input' in record) texts.push(compiled.renderPrompt(record.input).text);
  }
  const { calls = 0, written = 0, kept = 0, exactDuplicates = 0, nearDuplicates = 0, ...rest } = told();
  const belongs = relevanceTo(compiled);
  const relevant = texts.filter((text) => belongs(text) === undefined).length;
  const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
  const percent = (value: number): string => `${(100 * value).toFixed(1)}%`;
  const [yieldShare, duplicates] = [share(kept, written), share(exactDuplicates + nearDuplicates, written)];
  report(
    'written',
    [
      ['task', data ? basename(data) : 'the example task'],
      ['seeds', String(seeds)],
      ['calls', `${calls}, ${rest.unreadableAnswers ?? 0} of them without anything to read`],
      ['tokens', `${rest.inputTokens ?? 0} read, ${rest.outputTokens ?? 0} written`],
      [
        'inputs written',
        `${written}: ${kept} kept, ${exactDuplicates} exact and ${nearDuplicates} near-duplicates, ${rest.unusable ?? 0} unusable`,
      ],
      ['yield', `${percent(yieldShare)} of what was written, ${share(kept, calls).toFixed(1)} a call`],
      ['duplicates', percent(duplicates)],
      ['read like the seeds', `${relevant} of the kept ones`],
      ['a call', `${median(durations.length > 0 ? durations : [0]).toFixed(0)} ms (median)`],
      ...(rest.reason ? [['ended because', rest.reason] as const] : []),
      ...drawn(texts, SHOWN).map((text) => ['e.g.', JSON.stringify(text.slice(0, 140))] as const),
    ],
    {
      calls,
      written,
      kept,
      yield: yieldShare,
      duplicate_rate: duplicates,
      exact_duplicates: exactDuplicates,
      near_duplicates: nearDuplicates,
      unusable: rest.unusable ?? 0,
      unreadable_answers: rest.unreadableAnswers ?? 0,
      relevant,
      input_tokens: Number(rest.inputTokens ?? 0),
      output_tokens: Number(rest.outputTokens ?? 0),
    },
  );
}
