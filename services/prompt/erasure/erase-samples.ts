/** Takes inputs out of the samples of runs. The places of all others stay, because batches are counted by them. */
import { RunStage } from '@understudy/contract/prompt';
import { type BlobStore, digestOf, getIfThere } from '@understudy/service/blobs/blob-store';
import { RetryableError } from '@understudy/service/errors';
import type { StepContext } from '../context.ts';
import type { Run, SampleChunk } from '../run.ts';
import type { SampledPrompt } from '../sample.ts';
import { SAMPLES } from '../sample-store.ts';

export interface Meant {
  readonly task: string;
  readonly promptIds: ReadonlySet<string>;
  /** Name of a source, all of whose inputs are meant; none where empty. */
  readonly source: string;
}

export interface ErasedSamples {
  readonly prompts: number;
  /** Of the source, erased now or earlier. */
  readonly ofSource: ReadonlySet<string>;
}

/**
 * Rewrites every chunk that holds such an input, points the runs to the new one, and removes the old one; in this order, so that a
 * crash loses nothing and the same again goes on.
 * @throws RetryableError while a run of the task reads its sources: what it has read is in no chunk yet
 */
export async function eraseFromSamples(
  { blobs, runStore, runs }: Pick<StepContext, 'blobs' | 'runStore'> & { runs: { list(): Promise<Run[]> } },
  meant: Meant,
): Promise<ErasedSamples> {
  const own = (await runs.list()).filter(({ state }) => state.task === meant.task);
  const busy = own.find(isDrawing);
  if (busy) throw new RetryableError(`run ${busy.state.runId} is choosing its prompts; forget it again once it has`);
  const chunksOfTask = new Set(own.flatMap(chunksOf).map(({ digest }) => digest));
  const ofSource = new Set<string>();
  let prompts = 0;
  for await (const digest of blobs.list(SAMPLES, '')) {
    const rewritten = await rewrite(blobs, digest, meant, chunksOfTask.has(digest) ? meant.source : '');
    for (const id of rewritten.ofSource) ofSource.add(id);
    if (rewritten.erased === 0) continue;
    prompts += rewritten.erased;
    const next = await blobs.put(SAMPLES, rewritten.bytes);
    for (const run of own.filter((one) => chunksOf(one).some((chunk) => chunk.digest === digest))) {
      await runStore.update(run.state.runId, (current) => withChunk(current, digest, next));
    }
    await blobs.remove(SAMPLES, digest);
  }
  return { prompts, ofSource };
}

const isDrawing = ({ state, batches }: Run): boolean =>
  state.stage === RunStage.SAMPLING ||
  (state.stage === RunStage.LABELLING && batches.some(({ chosen, closed }) => chosen === null && !closed));

const chunksOf = ({ chunks, batches }: Run): SampleChunk[] => [
  ...chunks,
  ...batches.flatMap(({ chosen }) => chosen ?? []),
];

function withChunk(run: Run, before: string, next: string): Run {
  const replaced = (chunk: SampleChunk) => (chunk.digest === before ? { ...chunk, digest: next } : chunk);
  return {
    ...run,
    chunks: run.chunks.map(replaced),
    batches: run.batches.map((batch) => (batch.chosen ? { ...batch, chosen: batch.chosen.map(replaced) } : batch)),
  };
}

async function rewrite(blobs: BlobStore, digest: string, { promptIds }: Meant, source: string) {
  const before = await getIfThere(blobs, SAMPLES, digest);
  const ofSource: string[] = [];
  let erased = 0;
  if (!before) return { bytes: new Uint8Array(), erased, ofSource };
  const text = new TextDecoder().decode(before);
  const lines = text.split('\n').map((line) => {
    const prompt = JSON.parse(line) as SampledPrompt;
    const isOfSource = source !== '' && prompt.origin === source;
    if (isOfSource) ofSource.push(prompt.promptId);
    if (prompt.forgotten || !(isOfSource || promptIds.has(prompt.promptId))) return line;
    erased += 1;
    const { promptId, weight, origin } = prompt;
    return JSON.stringify({ promptId, inputJson: '', weight, forgotten: true, ...(origin ? { origin } : {}) });
  });
  const bytes = new TextEncoder().encode(lines.join('\n'));
  return { bytes, erased: digestOf(bytes) === digest ? 0 : erased, ofSource };
}
