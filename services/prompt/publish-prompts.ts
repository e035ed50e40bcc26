import { Purpose, Source, type TeacherKind } from '@understudy/contract';
import { traceparentOf, unsampled } from '@understudy/service/telemetry';
import type { StepContext } from './context.ts';
import { askedOf } from './first-batch.ts';
import {
  MAX_BYTES_AHEAD,
  MAX_PROMPTS_AHEAD,
  SUBMIT_SLICE_BYTES,
  SUBMIT_SLICE_PROMPTS,
  UNPRICED_PROMPTS,
} from './limits.ts';
import type { Batch, Run } from './run.ts';
import type { SampledPrompt } from './sample.ts';

/** Prompts that are published together. */
export interface Slice {
  prompts: SampledPrompt[];
  bytes: number;
}

/** The first batch of a run, which may turn out to cost more than its share. */
export const isBounded = ({ terms }: Run, batch: Batch): boolean => batch.number === 1 && terms.boundedFirst === true;

export async function* slicesOf(
  prompts: AsyncIterable<SampledPrompt>,
  most = SUBMIT_SLICE_PROMPTS,
): AsyncGenerator<Slice> {
  let slice: Slice = { prompts: [], bytes: 0 };
  for await (const prompt of prompts) {
    slice.prompts.push(prompt);
    slice.bytes += prompt.inputJson.length;
    if (slice.prompts.length < most && slice.bytes < SUBMIT_SLICE_BYTES) continue;
    yield slice;
    slice = { prompts: [], bytes: 0 };
  }
  if (slice.prompts.length > 0) yield slice;
}

/**
 * True when a slice may follow what already waits on the bus, measured with the slice's own mean size. Of a bounded batch no more may wait
 * than what is known to have cost so much.
 */
export function roomAhead(run: Run, batch: Batch, slice: Slice): boolean {
  const ahead = run.state.submitted - run.state.answered - run.state.declined;
  if (ahead <= 0) return true;
  const paid = slice.prompts.some(({ pair }) => pair === undefined);
  if (paid && isBounded(run, batch) && ahead + slice.prompts.length > UNPRICED_PROMPTS + askedOf(run)) return false;
  const meanBytes = slice.bytes / slice.prompts.length;
  const limit = Math.min(MAX_PROMPTS_AHEAD, MAX_BYTES_AHEAD / meanBytes);
  return ahead + slice.prompts.length <= limit;
}

/** Resolves when the bus has stored every prompt that has no answer yet. */
export async function publishPrompts(
  context: StepContext,
  run: Run,
  batch: Batch,
  teacher: TeacherKind,
  prompts: readonly SampledPrompt[],
): Promise<void> {
  const { runId, task, taskDigest } = run.state;
  const quiet = unsampled(run.traceparent);
  await Promise.all(
    prompts
      .filter(({ pair, promptId, forgotten }) => pair === undefined && !forgotten && !context.forgotten.has(promptId))
      .map((prompt) =>
        context.publisher.publish({
          type: 'prompt.submitted',
          route: teacher,
          entity: `${prompt.promptId}:0`,
          traceparent: isTraced(prompt.promptId, context.config.TRACE_PROMPTS_RATIO)
            ? ownSpan(context, run, prompt)
            : quiet,
          payload: {
            runId,
            task,
            taskDigest,
            promptId: prompt.promptId,
            inputJson: prompt.inputJson,
            purpose: Purpose.LABEL,
            source: prompt.trainsOnly ? Source.SELECTED : Source.RANDOM,
            weight: prompt.weight,
            referenceJson: prompt.referenceJson,
            batch: batch.number,
            origin: prompt.origin ?? '',
          },
        }),
      ),
  );
  context.journal.submitted(run, prompts.length);
}

/** The prompt's id decides, so that a repetition is traced as the first time was. */
function isTraced(promptId: string, ratio: number): boolean {
  return Number.parseInt(promptId.slice(0, 8), 16) / 2 ** 32 < ratio;
}

function ownSpan({ telemetry }: StepContext, run: Run, { promptId }: SampledPrompt): string {
  const span = telemetry.startSpan('prompt.submitted', run.traceparent, { promptId, runId: run.state.runId });
  span.end();
  return traceparentOf(span);
}
