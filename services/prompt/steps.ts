/** What a run may want done. Each step can be repeated after a crash at any point: its effects are keyed by content. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RunStage } from '@understudy/contract/prompt';
import { messageOf } from '@understudy/service/errors';
import type { CompiledTask } from '@understudy/task';
import type { StepContext } from './context.ts';
import { forgottenOf } from './erasure/forgotten.ts';
import { importPairs } from './import-pairs.ts';
import { BACKPRESSURE_POLL_MS, UNPRICED_PROMPTS } from './limits.ts';
import { isBounded, publishPrompts, roomAhead, type Slice, slicesOf } from './publish-prompts.ts';
import type { Announcement, Batch, Run, RunFact } from './run.ts';
import { drawSample, SampleError } from './sample.ts';
import { promptsOf, putSample } from './sample-store.ts';
import { chooseBatch, poolSize } from './selection/choose-batch.ts';
import { type OpenSource, openSources } from './sources/read.ts';
import { SourceError } from './sources/source.ts';
import { writingFor } from './writing/writing.ts';

export interface Step {
  context: StepContext;
  run: Run;
  /** Tells the run a fact; resolves with the run after it. */
  tell(fact: RunFact): Promise<Run>;
  /** Aborted when the run has left its stage, or the service stops: then whoever resumes the run does the step again. */
  signal: AbortSignal;
}

/** Draws the run's sample and keeps it, so that nothing after this depends on the sources. */
export async function sample(step: Step): Promise<void> {
  const { context, run, tell, signal } = step;
  const compiled = await taskOf(step);
  if (compiled === undefined) return;
  try {
    const around = { s3: context.config, write: writingFor(context, compiled, run, signal) };
    const sources = until(signal, openSources(compiled, around));
    const { prompts, ...figures } = await drawSample(
      compiled,
      sources,
      poolSize(run.terms),
      await forgottenOf(context, compiled.task.name),
    );
    await tell({ type: 'sampled', sample: figures, chunks: await putSample(context.blobs, prompts) });
  } catch (error) {
    if (!(error instanceof SourceError || error instanceof SampleError)) throw error;
    await tell({ type: 'broken', reason: messageOf(error) });
  }
}

/** Chooses the prompts of a further batch by the student of the one before, and keeps them. */
export async function choose(step: Step, batch: Batch): Promise<void> {
  const { context, run, tell, signal } = step;
  const compiled = await taskOf(step);
  if (compiled === undefined) return;
  const prompts = await chooseBatch(context, compiled, run, batch, signal);
  await tell({ type: 'selected', batch: batch.number, chunks: await putSample(context.blobs, prompts) });
}

/** Publishes what is left of a batch, never further ahead of the answers than the limits allow. */
export async function submit(step: Step, batch: Batch): Promise<void> {
  const { context, run, tell, signal } = step;
  const compiled = await taskOf(step);
  if (compiled === undefined) return;
  let current = run;
  let sent = batch.submitted;
  const prompts = promptsOf(context.blobs, run, batch, sent);
  for await (const slice of slicesOf(prompts, isBounded(run, batch) ? UNPRICED_PROMPTS : undefined)) {
    current = await waitForRoom({ ...step, run: current }, batch, slice);
    if (signal.aborted || current.state.stage !== RunStage.LABELLING) return;
    const { from, to } = current.batches.find(({ number }) => number === batch.number) ?? batch;
    const wanted = slice.prompts.slice(0, to - from - sent);
    if (wanted.length === 0) return;
    await publishPrompts(context, current, batch, compiled.task.teacher.kind, wanted);
    await importPairs(context, current, wanted);
    sent += wanted.length;
    current = await tell({ type: 'submitted', batch: batch.number, prompts: sent });
  }
}

/** Says what belongs to a batch, its manifest first, so that nobody reads of a manifest that is not there. */
export async function close({ context, run, tell }: Step, batch: Batch): Promise<void> {
  const ids: string[] = [];
  for await (const { promptId } of promptsOf(context.blobs, run, batch)) ids.push(promptId);
  const manifest = new TextEncoder().encode(ids.sort().join('\n'));
  const manifestDigest = await context.blobs.put('manifests', manifest);
  const { runId, task, taskDigest } = run.state;
  await context.publisher.publish({
    type: 'batch.closed',
    entity: String(batch.number),
    traceparent: run.traceparent,
    payload: { runId, task, taskDigest, batch: batch.number, count: ids.length, manifestDigest, seal: true },
  });
  await tell({ type: 'closed', batch: batch.number });
}

export async function announce({ context, run, tell }: Step, announcement: Announcement): Promise<void> {
  const { runId, task, taskDigest, verdict, reason } = run.state;
  const about = { runId, task, taskDigest, reason };
  const { traceparent } = run;
  if (announcement === 'run.cancelled') {
    await context.publisher.publish({ type: 'run.cancelled', entity: runId, traceparent, payload: about });
  } else {
    const payload = { ...about, verdict };
    await context.publisher.publish({ type: 'run.finished', entity: runId, traceparent, payload });
  }
  await tell({ type: 'announced', announcement });
}

/** Counts the run's answers and closes it if its stage shows no life. */
export async function look({ context, run, tell }: Step): Promise<Run> {
  const { runId, task, answered, declined, submitted, stage } = run.state;
  if (stage === RunStage.LABELLING || answered + declined < submitted) {
    const stats = await context.pairStore.stats({ task, runId });
    await tell({ type: 'counted', stats });
  }
  return tell({ type: 'tick' });
}

async function waitForRoom(step: Step, batch: Batch, slice: Slice): Promise<Run> {
  let { run } = step;
  while (!step.signal.aborted && run.state.stage === RunStage.LABELLING && !roomAhead(run, batch, slice)) {
    run = await look({ ...step, run });
    if (!roomAhead(run, batch, slice))
      await sleep(BACKPRESSURE_POLL_MS, undefined, { signal: step.signal }).catch(() => {});
  }
  return run;
}

/** @throws the signal's reason once it is aborted */
export async function* until(signal: AbortSignal, sources: AsyncIterable<OpenSource>): AsyncGenerator<OpenSource> {
  for await (const source of sources) yield { ...source, records: untilAborted(signal, source.records) };
}

async function* untilAborted<T>(signal: AbortSignal, items: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const item of items) {
    signal.throwIfAborted();
    yield item;
  }
}

async function taskOf({ context, run, tell }: Step): Promise<CompiledTask | undefined> {
  const { task, taskDigest } = run.state;
  const compiled = await context.tasks.byDigest(taskDigest);
  if (compiled !== undefined) return compiled;
  await tell({
    type: 'broken',
    reason: `version ${taskDigest} of task ${task} is not in the blob store: apply it again`,
  });
  return undefined;
}
