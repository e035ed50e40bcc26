import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { openSession, tensor, toRuntime } from '@understudy/graph';
import { type FromThread, ModelRefused, type ThreadAnswer, type ToThread } from './model-thread.ts';
import { readClassifier } from './onnx-folder.ts';
import { type ModelTask, readingOf } from './onnx-reading.ts';
import { openTextEncoder, type TextEncoder, type Tokens } from './onnx-tokens.ts';

/** Texts that are run together at most, and their tokens with the padding: beyond it a core gains nothing more, and memory grows. */
const MAX_ROWS = 16;
const MAX_RUN_TOKENS = 8_192;
/** Replicas share a machine; two gateways use two cores better than one model on two. */
const THREADS = 1;

// An error thrown anywhere here ends the thread and arrives in the service as the worker's `error` event.
const port = parentPort;
if (!port) throw new Error('onnx-worker.ts runs as a worker thread; start it with model-thread.ts');
const say = (message: FromThread) => port.postMessage(message);

type Logits = readonly (readonly number[])[];

/** Pads texts to one length and runs them. */
type Run = (rows: readonly Tokens[]) => Promise<Logits>;

const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];

const openModel = async (model: Uint8Array, { padId }: TextEncoder, classes: number) => {
  const session = await openSession(model, { threads: THREADS }).catch((cause) => {
    throw new ModelRefused(`onnxruntime cannot load the model: ${String(cause)}`, { cause });
  });
  const foreign = session.inputNames.find((name) => !INPUTS.includes(name));
  if (foreign !== undefined) throw new ModelRefused(`expected the inputs ${INPUTS.join(', ')}, got ${foreign}`);
  const run: Run = async (rows) => {
    const length = Math.max(1, ...rows.map(({ ids }) => ids.length));
    const filled = (value: (row: Tokens, index: number) => number) =>
      BigInt64Array.from({ length: rows.length * length }, (_, at) =>
        BigInt(value(rows[Math.floor(at / length)]!, at % length)),
      );
    const columns: Record<string, BigInt64Array> = {
      input_ids: filled(({ ids }, index) => ids[index] ?? padId),
      attention_mask: filled(({ ids }, index) => Number(index < ids.length)),
      token_type_ids: filled(({ types }, index) => types[index] ?? 0),
    };
    const feeds = Object.fromEntries(
      session.inputNames.map((name) => [name, toRuntime(tensor('int64', [rows.length, length], columns[name]!))]),
    );
    const { logits } = await session.run(feeds, ['logits']);
    const values = logits?.data as Float32Array;
    if (values.length !== rows.length * classes) {
      throw new RangeError(`expected ${classes} logits a text, as config.json has labels, got ${logits?.dims}`);
    }
    return rows.map((_, row) => Array.from(values.subarray(row * classes, (row + 1) * classes)));
  };
  return { run, release: () => session.release() };
};

/** The rows from `start` on that are run together. */
const next = (rows: readonly Tokens[], start: number): readonly Tokens[] => {
  let longest = rows[start]!.ids.length;
  let end = start + 1;
  for (; end < Math.min(rows.length, start + MAX_ROWS); end += 1) {
    longest = Math.max(longest, rows[end]!.ids.length);
    if (longest * (end + 1 - start) > MAX_RUN_TOKENS) break;
  }
  return rows.slice(start, end);
};

interface Asked {
  readonly id: number;
  readonly text: string;
}

const open = async (task: ModelTask) => {
  const folder = await readClassifier(task.folder);
  const reading = readingOf(task, folder.labels);
  const usable = (cause: unknown): never => {
    throw new ModelRefused(`the model in ${task.folder} cannot be used: ${String(cause)}`, { cause });
  };
  const encoder = await openTextEncoder(folder).catch(usable);
  const { run, release } = await openModel(folder.model, encoder, folder.labels.length);
  const answer = async (texts: readonly string[]): Promise<ThreadAnswer[]> => {
    const rows = texts.map((text) => reading.hypotheses.map((hypothesis) => encoder.encode(text, hypothesis)));
    const flat = rows.flat();
    const logits: (readonly number[])[] = [];
    while (logits.length < flat.length) logits.push(...(await run(next(flat, logits.length))));
    return rows.map((own, index) => ({
      probabilities: reading.probabilities(logits.slice(index * own.length, (index + 1) * own.length)),
      tokens: own.reduce((sum, { ids }) => sum + ids.length, 0),
    }));
  };
  await answer(['']).catch(usable);
  return {
    answer,
    release,
    version: folder.version,
    textsTogether: Math.max(1, Math.floor(MAX_ROWS / reading.hypotheses.length)),
  };
};

const waiting: Asked[] = [];
let closing = false;

/** One by one where together failed, so that one text cannot take others with it. */
const answerAll = async (model: Awaited<ReturnType<typeof open>>, asked: readonly Asked[]): Promise<void> => {
  try {
    const answers = await model.answer(asked.map(({ text }) => text));
    for (const [index, { id }] of asked.entries()) say({ kind: 'answer', id, ...answers[index]! });
  } catch (error) {
    if (asked.length > 1) for (const one of asked) await answerAll(model, [one]);
    else for (const { id } of asked) say({ kind: 'failed', id, message: String(error) });
  }
};

const serve = async (model: Awaited<ReturnType<typeof open>>): Promise<void> => {
  let wake = () => {};
  port.on('message', (message: ToThread) => {
    if (message.kind === 'ask') waiting.push(message);
    else closing = true;
    wake();
  });
  say({ kind: 'ready', version: model.version });
  while (!closing) {
    if (waiting.length === 0) await new Promise<void>((resume) => (wake = resume));
    // What was sent at the same time arrives in the same turn.
    await turn();
    if (!closing) await answerAll(model, waiting.splice(0, model.textsTogether));
  }
  await model.release();
  port.close();
};

try {
  await serve(await open(workerData as ModelTask));
} catch (error) {
  if (!(error instanceof ModelRefused)) throw error;
  say({ kind: 'refused', message: error.message });
}
