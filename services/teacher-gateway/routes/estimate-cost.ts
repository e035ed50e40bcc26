import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Purpose, Source } from '@understudy/contract';
import type { EstimateCostRequest, EstimateCostResponseSchema } from '@understudy/contract/teacher-gateway';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, invalidArgument } from '@understudy/service/rpc/status';
import { InputError, pairId, type RenderedPrompt } from '@understudy/task';
import type { AnsweringContext } from '../context.ts';
import { estimateCost as estimate, type Measured, type Range, type Unasked } from '../estimate.ts';
import type { KnownTask } from '../known-tasks.ts';
import { microUsdOf } from '../ledger/ledger.ts';
import { MAX_ESTIMATE_INPUTS } from '../limits.ts';
import { HeldPlace, type Outcome, pairOf, type Question, questionKey } from '../outcome.ts';
import { spentUsd } from '../teachers/pricing.ts';
import type { Teacher } from '../teachers/teacher.ts';

type Answered = MessageInitShape<typeof EstimateCostResponseSchema>;

/** What asking prompts like the sampled ones will cost; nothing is spent but on the calls that the caller allows. */
export const estimateCost = async (
  context: AnsweringContext,
  request: EstimateCostRequest,
  call: CallContext,
): Promise<Answered> => {
  const known = await context.tasks.get(request.task, request.taskDigest);
  const { kind } = known.compiled.task.teacher;
  if (!context.config.TEACHER_KINDS.includes(kind)) {
    throw failedPrecondition(`this teacher-gateway asks no teachers of the kind ${kind} (TEACHER_KINDS)`);
  }
  const sampled = promptsOf(known, request.inputJson);
  const teacher = await known.teacher().catch((error: Error) => {
    throw failedPrecondition(error.message);
  });
  const { measured, rest } = await knownOf(context, known, teacher, sampled);
  const knownCount = sampled.length - rest.length;
  const made = await makeCalls(context, known, rest.slice(0, request.maxCalls), request, call.signal);
  const paid = made.filter(({ calls }) => calls > 0);
  const all = [
    ...measured,
    ...paid.map(({ prompt, microUsd }) => ({ bound: boundOf(teacher, prompt), spent: microUsd })),
  ];
  const unasked = rest.map((prompt) => unaskedOf(known, teacher, prompt));
  const range = estimate(request.prompts, { unasked, known: knownCount }, all);
  return {
    ...{ sampled: sampled.length, known: knownCount, measured: all.length },
    microUsd: whole(range.expected),
    lowMicroUsd: whole(range.low),
    highMicroUsd: whole(range.high),
    largestCallMicroUsd: whole(Math.max(0, ...sampled.map((prompt) => boundOf(teacher, prompt)))),
    calls: made.reduce((sum, { calls }) => sum + calls, 0),
    spentMicroUsd: whole(made.reduce((sum, { microUsd }) => sum + microUsd, 0)),
  };
};

const whole = (value: number): bigint => BigInt(Math.ceil(value));

const boundOf = (teacher: Teacher, { text, promptId }: RenderedPrompt): number =>
  microUsdOf(teacher.costBound({ text, promptId }).usd);

const promptsOf = ({ compiled }: KnownTask, inputs: readonly string[]): RenderedPrompt[] => {
  if (inputs.length === 0 || inputs.length > MAX_ESTIMATE_INPUTS) {
    throw invalidArgument(`input_json: expected 1 to ${MAX_ESTIMATE_INPUTS} inputs, came ${inputs.length}`);
  }
  try {
    return inputs.map((input) => compiled.renderPrompt(JSON.parse(input)));
  } catch (error) {
    if (error instanceof InputError || error instanceof SyntaxError)
      throw invalidArgument(`input_json: ${error.message}`);
    throw error;
  }
};

/** What was paid for those that are answered already, and the others. */
const knownOf = async (
  { lookup }: AnsweringContext,
  known: KnownTask,
  teacher: Teacher,
  prompts: readonly RenderedPrompt[],
): Promise<{ measured: Measured[]; rest: RenderedPrompt[] }> => {
  const fingerprint = await known.fingerprint();
  if (fingerprint === undefined) return { measured: [], rest: [...prompts] };
  const { name } = known.compiled.task;
  const pairs = await Promise.all(
    prompts.map((prompt) => lookup.find(name, pairId(prompt.promptId, fingerprint, 0), true)),
  );
  // A pair without calls came from elsewhere, and says nothing about cost.
  const measured = pairs.flatMap((pair, index) =>
    pair?.usage && pair.usage.calls > 0
      ? [{ bound: boundOf(teacher, prompts[index]!), spent: Number(pair.usage.spentMicroUsd) }]
      : [],
  );
  return { measured, rest: prompts.filter((_, index) => !pairs[index]) };
};

/** Tokens that a text has for each of its bytes: few for English, more for code and most other languages. */
const tokensPerByte: Range = { expected: 1 / 4, low: 1 / 6, high: 1 / 2 };
/** Of an answer, beside what a teacher may write at most. */
const outputTokens = { expected: 24, low: 4 };
/** Where a task does not say what a teacher may write at most. */
const usualMaxOutputTokens = 256;

const unaskedOf = ({ compiled }: KnownTask, teacher: Teacher, prompt: RenderedPrompt): Unasked => {
  const settings = compiled.task.teacher;
  const pricing = 'pricing' in settings ? settings.pricing : undefined;
  const { tokens } = teacher.costBound({ text: prompt.text, promptId: prompt.promptId });
  const most = Math.min(tokens, 'maxOutputTokens' in settings ? settings.maxOutputTokens : usualMaxOutputTokens);
  const bytes = tokens - most;
  const cost = (perByte: number, output: number) =>
    spentUsd(pricing, { inputTokens: bytes * perByte, outputTokens: Math.min(most, output) }) * 1e6;
  return {
    bound: boundOf(teacher, prompt),
    assumed: {
      expected: cost(tokensPerByte.expected, outputTokens.expected),
      low: cost(tokensPerByte.low, outputTokens.low),
      high: cost(tokensPerByte.high, most),
    },
  };
};

interface Made {
  prompt: RenderedPrompt;
  calls: number;
  microUsd: number;
}

/** Asks within the caller's limits, and has every answer stored, so that no run pays for it again. */
const makeCalls = async (
  context: AnsweringContext,
  known: KnownTask,
  prompts: readonly RenderedPrompt[],
  { maxCalls, maxMicroUsd }: EstimateCostRequest,
  signal: AbortSignal,
): Promise<Made[]> => {
  if (prompts.length === 0) return [];
  const runId = `estimate-${randomUUID()}`;
  const account = context.ledger.ofEstimate(known.compiled.task, runId, {
    calls: maxCalls,
    microUsd: Number(maxMicroUsd),
  });
  return Promise.all(
    prompts.map(async (prompt) => {
      const place = new HeldPlace();
      const question: Question = {
        ...{ known, prompt, place, account, sampleNumber: 0, cacheable: true, live: true, payer: runId },
        key: questionKey(known, prompt, 0, ''),
        ...{ waiting: signal, stopping: signal, traceparent: undefined },
      };
      try {
        const outcome = await context.answers.get(question);
        await keep(context, known, prompt, runId, outcome);
        return { prompt, ...spentOn(outcome) };
      } finally {
        place.release();
      }
    }),
  );
};

const spentOn = (outcome: Outcome): Omit<Made, 'prompt'> => {
  if (outcome.kind === 'declined') return outcome.spending;
  const { usage } = outcome.answer;
  return outcome.cached || !usage
    ? { calls: 0, microUsd: 0 }
    : { calls: usage.calls, microUsd: Number(usage.spentMicroUsd) };
};

const keep = async (
  { publisher }: AnsweringContext,
  { compiled }: KnownTask,
  prompt: RenderedPrompt,
  runId: string,
  outcome: Outcome,
): Promise<void> => {
  if (outcome.kind === 'declined') return;
  const told = { sampleNumber: 0, purpose: Purpose.LABEL, source: Source.RANDOM, origin: '', weight: 1 };
  const pair = pairOf(outcome.answer, prompt, told);
  const { task, digest } = compiled;
  const payload = { runId, task: task.name, taskDigest: digest, batch: 0, cached: outcome.cached, pair };
  await publisher.publish({ type: 'teacher.answered', entity: `${pair.pairId}:0`, traceparent: undefined, payload });
};
