import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { SAMPLE_CHUNK_BYTES, SAMPLE_CHUNK_PROMPTS } from './limits.ts';
import type { Batch, Run, SampleChunk } from './run.ts';
import type { SampledPrompt } from './sample.ts';

/** The blob kind of a sample's chunks; nobody else reads them. */
export const SAMPLES = 'samples';

/** Keeps a sample in chunks: what a run submits does not depend on its sources any more. */
export async function putSample(blobs: BlobStore, prompts: readonly SampledPrompt[]): Promise<SampleChunk[]> {
  const chunks: SampleChunk[] = [];
  let lines: string[] = [];
  let characters = 0;
  const flush = async () => {
    const digest = await blobs.put(SAMPLES, new TextEncoder().encode(lines.join('\n')));
    chunks.push({ digest, prompts: lines.length });
    lines = [];
    characters = 0;
  };
  for (const prompt of prompts) {
    const line = JSON.stringify(prompt);
    if (lines.length === SAMPLE_CHUNK_PROMPTS || characters + line.length > SAMPLE_CHUNK_BYTES) await flush();
    lines.push(line);
    characters += line.length;
  }
  if (lines.length > 0) await flush();
  return chunks;
}

/** Prompts `from` to `to` (exclusive) of a sample, in order. */
export async function* readSample(
  blobs: BlobStore,
  chunks: readonly SampleChunk[],
  from: number,
  to: number,
): AsyncGenerator<SampledPrompt> {
  let start = 0;
  for (const { digest, prompts } of chunks) {
    const end = start + prompts;
    if (end > from && start < to) {
      const lines = new TextDecoder().decode(await blobs.get(SAMPLES, digest)).split('\n');
      for (const line of lines.slice(Math.max(0, from - start), to - start)) yield JSON.parse(line) as SampledPrompt;
    }
    start = end;
  }
}

/** Prompts of a batch from the `skip`th on: those that were chosen for it, else its part of the sample. */
export function promptsOf(blobs: BlobStore, run: Run, batch: Batch, skip = 0): AsyncGenerator<SampledPrompt> {
  const prompts = batch.to - batch.from;
  if (batch.chosen) return readSample(blobs, batch.chosen, skip, prompts);
  return readSample(blobs, run.chunks, batch.from + skip, batch.to);
}
