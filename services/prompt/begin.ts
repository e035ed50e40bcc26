import { messageOf } from '@understudy/service/errors';
import { traceparentOf } from '@understudy/service/telemetry';
import type { CompiledTask } from '@understudy/task';
import type { PromptContext } from './context.ts';
import { MAX_ACTIVE_RUNS } from './limits.ts';
import type { Run } from './run.ts';
import { beginRun, refuseRun, termsOf } from './run-state.ts';
import { probeSources } from './sources/read.ts';
import { SourceError } from './sources/source.ts';

export interface RunRequest {
  runId: string;
  ownPrompts: boolean;
  traceparent: string | undefined;
}

/** Why this service will not run a task now; undefined when it will. */
export async function objectionTo(
  context: PromptContext,
  compiled: CompiledTask,
  ownPrompts: boolean,
): Promise<string | undefined> {
  if (context.runs.active >= MAX_ACTIVE_RUNS) {
    return `${MAX_ACTIVE_RUNS} runs are under way; wait for one to finish, or cancel one`;
  }
  if (ownPrompts) return undefined;
  if (compiled.task.sources.length === 0)
    return `task ${compiled.task.name} has no sources; add some, and apply it again`;
  try {
    await probeSources(compiled, context.config);
    return undefined;
  } catch (error) {
    if (error instanceof SourceError) return messageOf(error);
    throw error;
  }
}

/** Keeps a new run and sets it going. */
export function begin(context: PromptContext, { task, digest }: CompiledTask, request: RunRequest): Promise<Run> {
  const given = { ...request, task: task.name, taskDigest: digest, terms: termsOf(task) };
  return context.runs.begin(beginRun({ ...given, traceparent: runTrace(context, request, task.name) }, Date.now()));
}

/** Keeps a new run that this service itself was asked for, sets it going, and tells of it. */
export async function beginOwn(
  context: PromptContext,
  compiled: CompiledTask,
  runId: string,
  traceparent: string | undefined,
): Promise<Run> {
  const kept = await begin(context, compiled, { runId, ownPrompts: false, traceparent });
  const { task, taskDigest } = kept.state;
  const payload = { runId, task, taskDigest, ownPrompts: false };
  await context.publisher.publish({ type: 'run.requested', entity: runId, traceparent: kept.traceparent, payload });
  return kept;
}

/** Keeps a run that cannot begin, so that whoever asked for it by an event hears its verdict. */
export function refuse(
  context: PromptContext,
  address: { task: string; taskDigest: string },
  request: RunRequest,
  reason: string,
): Promise<Run> {
  const traceparent = runTrace(context, request, address.task);
  return context.runs.begin(refuseRun({ ...address, ...request, traceparent }, reason, Date.now()));
}

/** One span to hang everything of the run below, ended at once: a run outlives processes. */
function runTrace({ telemetry }: PromptContext, { runId, traceparent }: RunRequest, task: string): string {
  const span = telemetry.startSpan('run', traceparent, { runId, task });
  span.end();
  return traceparentOf(span);
}
