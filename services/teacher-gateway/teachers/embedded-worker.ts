import { parentPort, workerData } from 'node:worker_threads';
import { openSentenceEncoder } from './embedded-encoder.ts';
import { fitHead, HEAD_VERSION, type LabelledEmbedding } from './embedded-head.ts';
import type { FromThread, ToThread } from './model-thread.ts';

/** What the thread is started with. */
export interface HeadTask {
  readonly labelCount: number;
  readonly examples: readonly { readonly text: string; readonly label: number }[];
}

// Inference occupies its thread, so it has one of its own: the service's would starve its heartbeats and acknowledgements.
// An error thrown anywhere here ends the thread and arrives in the service as the worker's `error` event.
const port = parentPort;
if (!port) throw new Error('embedded-worker.ts runs as a worker thread; start it with model-thread.ts');
const { labelCount, examples } = workerData as HeadTask;

const encoder = await openSentenceEncoder();
const embeddings: LabelledEmbedding[] = [];
for (const { text, label } of examples) embeddings.push({ embedding: (await encoder.encode(text)).embedding, label });
const head = fitHead(embeddings, labelCount);

async function answer(id: number, text: string): Promise<FromThread> {
  const { embedding, tokens } = await encoder.encode(text);
  return { kind: 'answer', id, probabilities: Array.from(head.probabilities(embedding)), tokens };
}

/** One at a time, in the order of asking. */
let last: Promise<void> = Promise.resolve();
port.on('message', (message: ToThread) => {
  last = last.then(async () => {
    if (message.kind === 'ask') port.postMessage(await answer(message.id, message.text));
    else {
      await encoder.close();
      port.close();
    }
  });
});
port.postMessage({ kind: 'ready', version: `${encoder.version}/${HEAD_VERSION}` } satisfies FromThread);
