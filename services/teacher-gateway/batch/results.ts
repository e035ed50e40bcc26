/** What the files of a batch say, line by line. They come from outside: any line can be anything. */
import type { RenderedPrompt } from '@understudy/task';
import type OpenAI from 'openai';
import { z } from 'zod';
import { softLabelsFault } from '../teachers/soft-labels.ts';
import { TeacherError, type TeacherReply } from '../teachers/teacher.ts';
import type { Outcome, Totals } from './book.ts';
import type { BatchContext } from './context.ts';

const count = z.int().min(0);
const lineSchema = z.looseObject({
  custom_id: z.string(),
  response: z.looseObject({ status_code: z.int(), body: z.unknown() }).nullish(),
  error: z.looseObject({ code: z.union([z.string(), z.int()]).nullish() }).nullish(),
});
/** As much of a completion as is believed; what else is in it the reader of completions checks. */
const bodySchema = z.looseObject({
  model: z.string().max(200).optional(),
  created: count.max(1e11).optional(),
  usage: z.looseObject({ prompt_tokens: count, completion_tokens: count }).nullish(),
});

export interface Answered {
  promptId: string;
  answerJson: string;
  reply: TeacherReply;
  /** When it was answered, in ms since 1970, where the completion says. */
  createdMs: number | undefined;
}

export interface Results {
  answered: Answered[];
  /** Of every prompt of the part. */
  outcomes: Outcome[];
  totals: Totals;
}

/**
 * Reads the output and error files of a part. The first line of a prompt counts.
 * @param status how the batch ended: why prompts without a line have none
 */
export const readResults = (
  context: Pick<BatchContext, 'compiled' | 'chat'>,
  prompts: ReadonlyMap<string, RenderedPrompt>,
  files: readonly string[],
  status: string,
): Results => {
  const outcomes = new Map<string, string>();
  const answered: Answered[] = [];
  const totals = { inputTokens: 0, outputTokens: 0, spentUsd: 0 };
  const strays: Record<string, number> = {};
  const stray = (reason: string) => {
    strays[reason] = (strays[reason] ?? 0) + 1;
  };
  for (const text of files.flatMap((file) => file.split('\n'))) {
    if (text.trim() === '') continue;
    const line = lineSchema.safeParse(parsed(text)).data;
    const prompt = line && prompts.get(line.custom_id);
    if (!line) stray('unreadable-line');
    else if (!prompt) stray('unknown-custom-id');
    else if (outcomes.has(prompt.promptId)) stray('duplicate-line');
    else {
      const judged = judge(context, prompt, line);
      outcomes.set(prompt.promptId, judged.outcome);
      totals.spentUsd += judged.spentUsd;
      if (!judged.answered) continue;
      answered.push(judged.answered);
      totals.inputTokens += judged.answered.reply.usage.inputTokens;
      totals.outputTokens += judged.answered.reply.usage.outputTokens;
    }
  }
  const missing = [...prompts.keys()].filter((id) => !outcomes.has(id));
  for (const id of missing) outcomes.set(id, `no-line (batch ${status})`);
  return { answered, outcomes: [...outcomes], totals: { ...totals, strays } };
};

interface Judged {
  outcome: string;
  spentUsd: number;
  answered?: Answered;
}

const judge = (
  { compiled, chat }: Pick<BatchContext, 'compiled' | 'chat'>,
  { promptId, text }: RenderedPrompt,
  { response, error }: z.output<typeof lineSchema>,
): Judged => {
  const unpaid = (outcome: string): Judged => ({ outcome, spentUsd: 0 });
  if (error) return unpaid(`error ${wordOf(error.code ?? 'unnamed')}`);
  if (!response) return unpaid('no-response');
  if (response.status_code !== 200) return unpaid(`status ${response.status_code}`);
  const body = bodySchema.safeParse(response.body).data;
  const bound = chat.costBound(text);
  if (!body) return { outcome: 'malformed', spentUsd: bound.usd };
  try {
    const reply = chat.reply(body as unknown as OpenAI.ChatCompletion, bound, 0);
    const { spentUsd } = reply.usage;
    const answer = compiled.parseAnswer(reply.content, text);
    if (!answer.ok) return { outcome: reply.cutOff ? 'cut-off' : `invalid ${answer.reason}`, spentUsd };
    if (softLabelsFault(reply.soft ?? {}, compiled.output.heads)) return { outcome: 'invalid soft-labels', spentUsd };
    const createdMs = body.created && body.created * 1_000;
    return { outcome: 'answered', spentUsd, answered: { promptId, answerJson: answer.answer, reply, createdMs } };
  } catch (thrown) {
    // A completion whose parts are not what the protocol says.
    if (!(thrown instanceof TeacherError)) return { outcome: 'malformed', spentUsd: bound.usd };
    return { outcome: thrown.failure, spentUsd: thrown.spentUsd };
  }
};

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** A provider's code, short enough to count by. */
const wordOf = (code: string | number): string =>
  String(code)
    .replaceAll(/[^\w.-]+/g, '-')
    .slice(0, 40);
