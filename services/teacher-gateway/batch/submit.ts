/** The way of a batch through the provider. Every step can be repeated by another process after a kill -9. */
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Pair, PairSchema, Purpose, UsageSchema } from '@understudy/contract';
import { messageOf } from '@understudy/service/errors';
import { pairId } from '@understudy/task';
import { distributionsOf, pairOf } from '../outcome.ts';
import { TeacherError } from '../teachers/teacher.ts';
import { BatchError, type Book, type Part } from './book.ts';
import type { BatchContext } from './context.ts';
import { forgotten, reserved, settled } from './in-ledger.ts';
import { IMPORT_CHARACTERS, IMPORT_PAIRS, LOOKS_FOR_BATCH, MAX_POLL_MS, POLL_GROWTH } from './limits.ts';
import { fileOf } from './plan.ts';
import { type Batch, Provider } from './provider.ts';
import { type Answered, readResults } from './results.ts';

type Note = (line: string) => void;

/** How batches end. `failed`: the provider refused the file, and asked nothing. */
const ended: ReadonlySet<string> = new Set(['completed', 'failed', 'expired', 'cancelled']);

/**
 * Submits what is not submitted, waits for the batches, and imports what they answered.
 * @throws BatchError when the provider refused a part as a whole; TeacherError when it cannot be reached
 */
export const submit = async (context: BatchContext, book: Book, note: Note): Promise<void> => {
  using provider = new Provider(context.settings, context.access);
  await reserved(context, book);
  for (const part of book.parts()) {
    if (part.state === 'done') continue;
    await uploaded(context, book, provider, part, note);
    await created(context, book, provider, part, note);
  }
  await collect(context, book, provider, note);
};

const uploaded = async (context: BatchContext, book: Book, provider: Provider, part: Part, note: Note) => {
  const { number, key, prompts } = part;
  if (part.state !== 'planned' && part.state !== 'uploading') return;
  const earlier = part.state === 'uploading' ? await provider.findFile(key) : undefined;
  book.update(number, { state: 'uploading' });
  const fileId = earlier ?? (await provider.upload(key, fileOf(context, book, number)));
  Object.assign(part, { state: 'uploaded', fileId });
  book.update(number, { state: 'uploaded', fileId });
  note(`part ${number}: ${prompts} requests ${earlier ? 'had been' : 'were'} uploaded as ${fileId}`);
};

const created = async (context: BatchContext, book: Book, provider: Provider, part: Part, note: Note) => {
  const { number, key, fileId } = part;
  if (fileId === null || (part.state !== 'uploaded' && part.state !== 'creating')) return;
  const earlier = part.state === 'creating' ? await found(context, provider, key, fileId) : undefined;
  book.update(number, { state: 'creating' });
  const batchId =
    earlier ??
    (await provider.create(key, fileId).catch((error) => {
      // Only a refusal says for certain that there is no batch.
      if (wasRefused(error)) book.update(number, { state: 'uploaded' });
      throw error;
    }));
  book.update(number, { state: 'created', batchId });
  note(`part ${number}: ${earlier ? 'had become' : 'is'} batch ${batchId}`);
};

const refusals: ReadonlySet<string> = new Set(['rejected', 'unauthorized', 'rate-limited']);
const wasRefused = (error: unknown): boolean =>
  error instanceof TeacherError && refusals.has(error.failure) && !error.unsettled;

/** A batch that may have been made before its reply was lost. */
const found = async ({ pollMs }: BatchContext, provider: Provider, key: string, fileId: string) => {
  for (let look = 1; look <= LOOKS_FOR_BATCH; look += 1) {
    const id = await provider.findBatch(key, fileId);
    if (id !== undefined) return id;
    if (look < LOOKS_FOR_BATCH) await sleep(pollMs);
  }
  return undefined;
};

const collect = async (context: BatchContext, book: Book, provider: Provider, note: Note): Promise<void> => {
  const refused: string[] = [];
  let waitMs = context.pollMs;
  for (;;) {
    const open = book.parts().filter(({ state }) => state === 'created');
    if (open.length === 0) break;
    let retryAfterMs = 0;
    for (const part of open) {
      const batch = await look(provider, part, note);
      if (batch instanceof TeacherError) retryAfterMs = Math.max(retryAfterMs, batch.retryAfterMs ?? 0);
      else if (batch.status === 'failed') {
        refused.push(`part ${part.number}: ${refusalOf(batch)}`);
        await forgotten(context, part);
        book.replan(part.number);
      } else if (ended.has(batch.status)) await finish(context, book, provider, part, batch, note);
      else if (batch.status !== part.status) {
        book.update(part.number, { status: batch.status });
        note(`part ${part.number}: ${batch.status}, ${batch.request_counts?.completed ?? 0} of ${part.prompts} done`);
      }
    }
    if (book.parts().some(({ state }) => state === 'created')) await sleep(Math.max(waitMs, retryAfterMs));
    waitMs = Math.min(waitMs * POLL_GROWTH, MAX_POLL_MS);
  }
  if (refused.length === 0) return;
  const advice = 'nothing of it was asked: correct what it says, and the same command submits it again';
  throw new BatchError(`the provider refused ${refused.join('; ')} (${advice})`);
};

/** A provider that is away for a while is asked again. */
const look = async (provider: Provider, { number, batchId }: Part, note: Note): Promise<Batch | TeacherError> => {
  try {
    return await provider.batch(batchId ?? '');
  } catch (error) {
    if (!(error instanceof TeacherError) || !error.retryable) throw error;
    note(`part ${number}: ${messageOf(error)}; it is looked at again`);
    return error;
  }
};

const refusalOf = ({ errors }: Batch): string =>
  (errors?.data ?? [])
    .slice(0, 3)
    .map(({ code, message }) => `${code ?? 'error'} ${message ?? ''}`.trim())
    .join(', ') || 'it gave no reason';

const finish = async (
  context: BatchContext,
  book: Book,
  provider: Provider,
  part: Part,
  { status, output_file_id: output, error_file_id: errors }: Batch,
  note: Note,
): Promise<void> => {
  const { compiled } = context;
  const { number } = part;
  const asked = new Map(book.prompts(number).map((prompt) => [prompt.promptId, prompt]));
  const rendered = new Map([...asked].map(([id, { inputJson }]) => [id, compiled.renderPrompt(JSON.parse(inputJson))]));
  const files: string[] = [];
  for (const id of [output, errors]) if (id) files.push(await provider.content(id));
  const { answered, outcomes, totals } = readResults(context, rendered, files, status);
  const pairs: Pair[] = [];
  for (const one of answered) {
    const { source, weight, referenceJson, origin } = asked.get(one.promptId)!;
    const told = {
      sampleNumber: 0,
      purpose: Purpose.IMPORTED,
      source,
      origin,
      weight,
      referenceJson: referenceJson ?? undefined,
    };
    const answer = await answerOf(context, one);
    pairs.push(create(PairSchema, pairOf(answer, rendered.get(one.promptId)!, told)));
  }
  await importPairs(context, pairs);
  await settled(context, part, outcomes, totals);
  await book.once(() => {
    book.update(number, { status });
    book.finish(number, outcomes, totals);
  });
  note(`part ${number}: ${status}, ${answered.length} of ${asked.size} answered`);
};

const answerOf = async (context: BatchContext, { promptId, answerJson, reply, createdMs }: Answered) => {
  const fingerprint = await fingerprintOf(context, reply.model);
  const { inputTokens, outputTokens, spentUsd } = reply.usage;
  return {
    pairId: pairId(promptId, fingerprint, 0),
    ...{ fingerprint, answerJson },
    soft: distributionsOf(reply.soft ?? {}),
    answeredAt: timestampFromMs(createdMs ?? Date.now()),
    usage: create(UsageSchema, {
      inputTokens: BigInt(inputTokens),
      outputTokens: BigInt(outputTokens),
      spentMicroUsd: BigInt(Math.ceil(spentUsd * 1e6)),
      calls: 1,
    }),
  };
};

/** By version of a task and model. */
const fingerprints = new Map<string, string>();

/** What the gateway keeps answers of a model under. It notes the model, so that a run finds them. */
const fingerprintOf = async ({ gateway, request }: BatchContext, model: string): Promise<string> => {
  const { task, taskDigest } = request;
  const key = `${taskDigest} ${model}`;
  const known = fingerprints.get(key);
  if (known) return known;
  const { fingerprint } = await gateway.noteModel({ task, taskDigest, model });
  fingerprints.set(key, fingerprint);
  return fingerprint;
};

/** Twice is as good as once: the pair store knows pairs by their ids. */
const importPairs = async ({ pairStore, request }: BatchContext, pairs: readonly Pair[]): Promise<void> => {
  const { task, taskDigest } = request;
  let [some, characters]: [Pair[], number] = [[], 0];
  for (const [index, pair] of pairs.entries()) {
    some.push(pair);
    characters += pair.inputJson.length + pair.text.length + pair.answerJson.length;
    if (some.length < IMPORT_PAIRS && characters < IMPORT_CHARACTERS && index + 1 < pairs.length) continue;
    await pairStore.importPairs({ task, taskDigest, runId: '', pairs: some });
    [some, characters] = [[], 0];
  }
};
