import { setTimeout as sleep } from 'node:timers/promises';
import { DeclineReason } from '@understudy/contract';
import type { WriteResponse } from '@understudy/contract/teacher-gateway';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { RetryableError } from '@understudy/service/errors';
import { type CanonicalInput, type CompiledTask, canonicalJson, InputError, sha256Hex } from '@understudy/task';
import { foldText } from '@understudy/task/grouping/minhash';
import { Neighbours } from '@understudy/task/grouping/neighbours';
import type { InputMatcher } from '@understudy/task/versions';
import { z } from 'zod';
import type { StepContext } from '../context.ts';
import {
  INPUTS_PER_CALL,
  MAX_CALLS_PER_YIELD,
  MAX_FAILED_CALLS,
  MAX_FRUITLESS_ROUNDS,
  MAX_WRITING_SHARE,
  RETRY_STEP_MS,
  WRITING_CONCURRENCY,
} from '../limits.ts';
import type { Run } from '../run.ts';
import type { Writing, WritingReport } from '../sources/read.ts';
import { type RecordStream, SourceError } from '../sources/source.ts';
import { readWritten } from './read-written.ts';
import { type WritingWords, type WrittenSource, writingWords } from './request.ts';

const counts = {
  calls: z.int(),
  inputTokens: z.int(),
  outputTokens: z.int(),
  spentMicroUsd: z.int(),
  written: z.int(),
  exactDuplicates: z.int(),
  nearDuplicates: z.int(),
  unusable: z.int(),
  unreadableAnswers: z.int(),
};
const Written = z.object({
  inputs: z.array(z.record(z.string(), z.string())),
  /** Calls of all runs, which decide what is asked next. */
  asked: z.int(),
  /** The run that made the last calls, and what came of its calls. */
  runId: z.string(),
  ...counts,
});
type Written = z.infer<typeof Written>;

/** One answer of the teacher: what it wrote, or why it wrote nothing. */
export interface WritingAnswer {
  content?: string;
  failure?: { detail: string; passing: boolean };
  inputTokens: number;
  outputTokens: number;
  spentMicroUsd: number;
  calls: number;
}

/** What writing needs of the world. */
export interface WritingDesk {
  ask(words: WritingWords, inputs: number): Promise<WritingAnswer>;
  /** What an earlier process or run wrote for the same source. */
  load(): Promise<string | undefined>;
  save(state: string): Promise<void>;
  pause(ms: number): Promise<void>;
}

/**
 * Inputs that the teacher writes for a source, distinct from each other and from the task's examples. Progress is kept after
 * each round of calls: after a crash, and in later runs of the same source, nothing that was written is paid again.
 * @param maxCalls of this run
 */
export function writeInputs(
  compiled: CompiledTask,
  source: WrittenSource,
  run: { runId: string; maxCalls: number },
  desk: WritingDesk,
): Writing {
  const book = new WrittenBook(compiled);
  let state = freshState(run.runId);
  let reason = '';

  const round = async (): Promise<{ news: number; failed: boolean; stop: boolean }> => {
    const left = source.limit - state.inputs.length;
    const calls = Math.min(WRITING_CONCURRENCY, run.maxCalls - state.calls, Math.ceil(left / INPUTS_PER_CALL));
    const words = Array.from({ length: calls }, (_, i) =>
      writingWords(compiled, source, state.asked + i, state.inputs, INPUTS_PER_CALL),
    );
    const answers = await Promise.all(words.map((each) => desk.ask(each, INPUTS_PER_CALL)));
    const before = state.inputs.length;
    for (const answer of answers) take(answer);
    await desk.save(JSON.stringify(state));
    const failures = answers.flatMap(({ failure }) => failure ?? []);
    if (failures.length > 0) reason = failures[0]?.detail ?? '';
    const news = state.inputs.length - before;
    return { news, failed: failures.length === answers.length, stop: failures.some(({ passing }) => !passing) };
  };

  const take = ({ content, ...answer }: WritingAnswer): void => {
    state.asked += 1;
    state.calls += answer.calls;
    state.inputTokens += answer.inputTokens;
    state.outputTokens += answer.outputTokens;
    state.spentMicroUsd += answer.spentMicroUsd;
    if (content === undefined) return;
    const read = readWritten(content, compiled.task.input.fields);
    if (read.length === 0) state.unreadableAnswers += 1;
    for (const input of read) {
      state.written += 1;
      const fate = book.take(input);
      if (typeof fate === 'object') state.inputs.push(fate.kept);
      else state[fate] += 1;
    }
  };

  async function* records(): RecordStream {
    state = takenUp(await desk.load(), run.runId);
    for (const input of state.inputs) book.take(input);
    let [fruitless, failures] = [0, 0];
    while (state.inputs.length < source.limit && state.calls < run.maxCalls) {
      const { news, failed, stop } = await round();
      fruitless = news > 0 ? 0 : fruitless + 1;
      failures = failed ? failures + 1 : 0;
      if (stop || failures === MAX_FAILED_CALLS) break;
      if (failed) await desk.pause(RETRY_STEP_MS * 2 ** failures);
      else reason = '';
      if (!failed && fruitless === MAX_FRUITLESS_ROUNDS) {
        reason = `nothing new in ${MAX_FRUITLESS_ROUNDS * WRITING_CONCURRENCY} calls`;
        break;
      }
    }
    if (state.inputs.length < source.limit && reason === '') reason = `${state.calls} calls were not enough`;
    if (state.inputs.length === 0)
      throw new SourceError('written', `expected the teacher to write inputs, got none: ${reason}`);
    for (const [index, input] of state.inputs.slice(0, source.limit).entries())
      yield { position: `written:${index + 1}`, input };
  }

  return { records: records(), report: () => reportOf(state, source, reason) };
}

const freshState = (runId: string): Written => ({
  inputs: [],
  asked: 0,
  runId,
  ...(Object.fromEntries(Object.keys(counts).map((name) => [name, 0])) as Record<keyof typeof counts, number>),
});

/** What was written stays; the counts are those of this run. */
function takenUp(text: string | undefined, runId: string): Written {
  if (text === undefined) return freshState(runId);
  const before = Written.parse(JSON.parse(text));
  return before.runId === runId ? before : { ...freshState(runId), inputs: before.inputs, asked: before.asked };
}

function reportOf(
  { inputs, asked: _asked, runId: _runId, spentMicroUsd, inputTokens, outputTokens, ...rest }: Written,
  source: WrittenSource,
  reason: string,
): WritingReport {
  return {
    ...rest,
    kept: inputs.length,
    spentMicroUsd: BigInt(spentMicroUsd),
    inputTokens: BigInt(inputTokens),
    outputTokens: BigInt(outputTokens),
    reason: inputs.length < source.limit ? reason : '',
  };
}

type Fate = { kept: CanonicalInput } | 'exactDuplicates' | 'nearDuplicates' | 'unusable';

/** What has been written, to tell what is new. */
class WrittenBook {
  readonly #compiled: CompiledTask;
  readonly #ids = new Set<string>();
  readonly #neighbours = new Neighbours();

  constructor(compiled: CompiledTask) {
    this.#compiled = compiled;
    for (const { input } of compiled.task.examples) this.take(input);
  }

  take(input: Readonly<Record<string, string>>): Fate {
    try {
      const canonical = this.#compiled.canonicalInput(input);
      const { promptId, text } = this.#compiled.renderPrompt(canonical);
      const folded = foldText(text);
      if (folded === '' || Object.values(canonical).every((value) => value === '')) return 'unusable';
      if (this.#ids.has(promptId)) return 'exactDuplicates';
      this.#ids.add(promptId);
      let near = false;
      this.#neighbours.search(folded, () => {
        near = true;
      });
      if (near) return 'nearDuplicates';
      this.#neighbours.add();
      return { kept: canonical };
    } catch (error) {
      if (error instanceof InputError) return 'unusable';
      throw error;
    }
  }
}

/** Has a run's inputs written by its teacher, at the run's cost. */
export function writingFor(
  context: StepContext,
  compiled: CompiledTask,
  run: Run,
  signal: AbortSignal,
): (source: WrittenSource) => Writing {
  const { runId, task, taskDigest } = run.state;
  return (source) => {
    const wanted = Math.ceil((MAX_CALLS_PER_YIELD * source.limit) / INPUTS_PER_CALL);
    const maxCalls = Math.max(1, Math.min(wanted, Math.floor(MAX_WRITING_SHARE * run.terms.budgetCalls)));
    const name = nameOf(compiled, source);
    return writeInputs(
      compiled,
      source,
      { runId, maxCalls },
      {
        ask: async (words, inputs) => {
          const { teacherGateway } = context;
          if (teacherGateway === undefined) {
            throw new SourceError('written', 'this service knows no teacher gateway: set TEACHER_GATEWAY_ADDRESS');
          }
          return answerOf(() => teacherGateway.write({ task, taskDigest, runId, ...words, inputs }, { signal }));
        },
        load: async () => {
          const bytes = await context.blobs.getNamed(name);
          return bytes && new TextDecoder().decode(bytes);
        },
        save: (state) => context.blobs.putNamed(name, new TextEncoder().encode(state)),
        pause: (ms) => sleep(ms, undefined, { signal }),
      },
    );
  };
}

const nameOf = (compiled: CompiledTask, source: WrittenSource): string => `written/${keyOf(compiled, source)}`;

/** Takes inputs out of what teachers wrote for the sources of these versions. @returns how many went */
export async function eraseWritten(
  blobs: BlobStore,
  versions: readonly CompiledTask[],
  matcher: InputMatcher,
): Promise<number> {
  let erased = 0;
  const names = new Set(
    versions.flatMap((version) =>
      version.task.sources.flatMap((source) => (source.kind === 'written' ? [nameOf(version, source)] : [])),
    ),
  );
  for (const name of names) {
    const bytes = await blobs.getNamed(name);
    if (!bytes) continue;
    const state = Written.parse(JSON.parse(new TextDecoder().decode(bytes)));
    const inputs = state.inputs.filter((input) => !matcher.isInput(input));
    if (inputs.length === state.inputs.length) continue;
    erased += state.inputs.length - inputs.length;
    await blobs.putNamed(name, new TextEncoder().encode(JSON.stringify({ ...state, inputs })));
  }
  return erased;
}

/** All that decides what is written. */
function keyOf({ task }: CompiledTask, { about, attributes }: WrittenSource): string {
  const { name, input, prompt, output, examples, teacher } = task;
  return sha256Hex(canonicalJson({ name, input, prompt, output, examples, teacher, about, attributes }));
}

async function answerOf(ask: () => Promise<WriteResponse>): Promise<WritingAnswer> {
  try {
    const { outcome, usage } = await ask();
    const used = {
      inputTokens: Number(usage?.inputTokens ?? 0),
      outputTokens: Number(usage?.outputTokens ?? 0),
      spentMicroUsd: Number(usage?.spentMicroUsd ?? 0),
      calls: usage?.calls ?? 0,
    };
    if (outcome.case === 'written') return { ...used, content: outcome.value.content };
    const { reason, detail } = outcome.value ?? { reason: DeclineReason.UNSPECIFIED, detail: 'no outcome' };
    return { ...used, failure: { detail, passing: reason === DeclineReason.UNAVAILABLE } };
  } catch (error) {
    if (!(error instanceof RetryableError)) throw error;
    const failure = { detail: error.message, passing: true };
    return { failure, inputTokens: 0, outputTokens: 0, spentMicroUsd: 0, calls: 0 };
  }
}
