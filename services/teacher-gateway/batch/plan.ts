/** Which prompts a batch asks, in which files, and what that can cost at most. */
import { pairId } from '@understudy/task';
import { BatchError, type Book, type BookPrompt } from './book.ts';
import type { BatchContext } from './context.ts';
import { MAX_FILE_BYTES, SAMPLE_TIMEOUT_MS } from './limits.ts';

/** One request, as a line of a batch file. */
export const lineOf = ({ compiled, chat }: BatchContext, { promptId, inputJson }: BookPrompt): string => {
  const { text } = compiled.renderPrompt(JSON.parse(inputJson));
  const request = { custom_id: promptId, method: 'POST', url: '/v1/chat/completions', body: chat.body(text) };
  return `${JSON.stringify(request)}\n`;
};

/** The most that a request can cost. Whole millionths, each rounded up: a sum of them is exact, and no less than what it stands for. */
const boundOf = ({ compiled, chat }: BatchContext, { inputJson }: BookPrompt): number =>
  Math.ceil(chat.costBound(compiled.renderPrompt(JSON.parse(inputJson)).text).usd * 1e6 - 1e-6);

/** The most that all of a part can cost. */
export const boundOfPart = (context: BatchContext, book: Book, part: number): number =>
  book.prompts(part).reduce((sum, prompt) => sum + boundOf(context, prompt), 0);

/** The whole file of a part. */
export const fileOf = (context: BatchContext, book: Book, part: number): string =>
  book
    .prompts(part)
    .map((prompt) => lineOf(context, prompt))
    .join('');

/**
 * Plans the batch of this version of the task, unless the book has one.
 * @throws BatchError when it would be beyond the task's budget, or another one is planned already; then nothing is kept
 */
export const plan = async (context: BatchContext, book: Book): Promise<void> => {
  const { request, compiled } = context;
  const planned = book.get('planned');
  if (planned === undefined) return book.once(() => draw(context, book));
  const { task } = compiled;
  if (request.prompts !== undefined && request.prompts !== book.get('wanted')) {
    throw new BatchError(
      `task ${task.name} has a batch of ${planned} prompts, and a version of a task has one: leave --prompts out to go on with it; what it leaves open is asked by a run`,
    );
  }
};

const draw = async (context: BatchContext, book: Book): Promise<void> => {
  const { request, compiled } = context;
  const { name, budget } = compiled.task;
  const wanted = request.prompts ?? budget.calls;
  if (wanted > budget.calls) {
    throw new BatchError(`${wanted} prompts are beyond budget.calls of task ${name}, ${budget.calls}: ask fewer`);
  }
  let [part, inPart, bytes] = [1, 0, 0];
  let [prompts, microUsd, affordable] = [0, 0, 0];
  for await (const one of unanswered(context, book, wanted)) {
    const lineBytes = Buffer.byteLength(lineOf(context, one));
    if (inPart === request.perFile || (inPart > 0 && bytes + lineBytes > MAX_FILE_BYTES)) {
      book.addPart(part, inPart);
      [part, inPart, bytes] = [part + 1, 0, 0];
    }
    book.addPrompt(part, one);
    inPart += 1;
    bytes += lineBytes;
    prompts += 1;
    microUsd += boundOf(context, one);
    if (microUsd / 1e6 <= budget.usd) affordable = prompts;
  }
  if (inPart > 0) book.addPart(part, inPart);
  const boundUsd = microUsd / 1e6;
  if (boundUsd > budget.usd) {
    throw new BatchError(
      `${prompts} prompts can cost up to $${boundUsd.toFixed(4)}, beyond budget.usd of task ${name}, $${budget.usd.toFixed(4)}: ${
        affordable > 0 ? `--prompts ${affordable} fits, or` : 'no prompt fits;'
      } raise the budget, or lower teacher.maxOutputTokens`,
    );
  }
  book.set('planned', prompts);
  book.set('wanted', wanted);
  book.set('boundUsd', boundUsd);
};

/** The prompts that a run would ask first, but for those whose answers the pair store has. */
async function* unanswered(context: BatchContext, book: Book, wanted: number): AsyncGenerator<BookPrompt> {
  const { prompt, pairStore, gateway, request } = context;
  const { task, taskDigest } = request;
  const { fingerprint } = await gateway.noteModel({ task, taskDigest, model: '' });
  let known = 0;
  const sample = prompt.streamSample({ task, taskDigest, prompts: wanted }, { timeoutMs: SAMPLE_TIMEOUT_MS });
  for await (const { prompts } of sample) {
    const answered = new Set<string>();
    if (fingerprint !== '') {
      const pairIds = prompts.map(({ promptId }) => pairId(promptId, fingerprint, 0));
      for (const pair of (await pairStore.findPairs({ task, pairIds })).pairs) answered.add(pair.promptId);
    }
    known += answered.size;
    for (const { promptId, inputJson, source, weight, referenceJson, origin } of prompts) {
      if (answered.has(promptId)) continue;
      yield { promptId, inputJson, source, weight, origin, referenceJson: referenceJson ?? null };
    }
  }
  book.set('known', known);
}
