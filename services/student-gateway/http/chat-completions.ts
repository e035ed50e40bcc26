import { readCall } from '@understudy/task';
import { type Answer, questionOf } from '../answering/answering.ts';
import { RequestError } from '../errors.ts';
import { teacherHeader } from '../proxy/headers.ts';
import { passedBody, unreadBody } from '../proxy/passed-body.ts';
import { isPlainJson, readHead, readJson } from './body.ts';
import { chunksOf, completionOf, headersOf, type ReplyForm } from './chat-answer.ts';
import { inputOf, readChatRequest, ruleOf, streamOf } from './chat-request.ts';
import type { Call, Handler, HttpContext } from './context.ts';
import { passOn } from './pass-through.ts';
import { servedTask, traceparentIn } from './request.ts';
import { send, sendJson } from './respond.ts';

/**
 * `POST /v1/chat/completions`. A call that names a task, or that asks just what a task's teacher is asked, gets the JSON
 * that the teacher would give; any other one is passed through.
 */
export const chatCompletions: Handler = async (context, call) => {
  if (!context.upstream) return answerNamed(context, call, await readJson(call.request));
  const { request } = call;
  if (!isPlainJson(request)) return passOn(context, call, unreadBody(request));
  const { chunks, complete } = await readHead(request);
  const asked = complete && !context.serving.isEmpty ? parsed(chunks) : undefined;
  if (namesTask(context, asked)) return answerNamed(context, call, asked);
  if (await answerMatching(context, call, asked)) return;
  const tap = complete ? context.recorder?.follow(chunks) : undefined;
  return passOn(context, call, passedBody(request, chunks, complete), tap);
};

/** The task is the model. */
const answerNamed = async (context: HttpContext, call: Call, body: unknown): Promise<void> => {
  const chat = readChatRequest(body);
  const served = servedTask(context, call.caller, chat.model);
  const { task } = served.task;
  const question = questionOf(served, inputOf(task, chat.content), ruleOf(task));
  const answer = await context.answering.answer(served, question, traceparentIn(call.request));
  reply(call, answer, { model: chat.model, tool: undefined }, chat);
};

/**
 * Answers a call for another model that is a task's by what it asks.
 * @returns false where there is no such task, or nobody here can answer: the upstream can
 */
const answerMatching = async (context: HttpContext, call: Call, body: unknown): Promise<boolean> => {
  const chat = readCall(body);
  const matched = chat && context.serving.match(chat);
  if (!matched || call.request.headers[teacherHeader] !== undefined) return false;
  const { served, input } = matched;
  if (!call.caller.mayAsk(served.deployment.task)) return false;
  try {
    const question = questionOf(served, input, 'the user message is the input');
    const answer = await context.answering.answer(served, question, traceparentIn(call.request));
    reply(call, answer, chat, streamOf(body as Record<string, unknown>));
    return true;
  } catch (error) {
    if (error instanceof RequestError) return false;
    throw error;
  }
};

const reply = (
  { response }: Call,
  answer: Answer,
  form: ReplyForm,
  { stream, includeUsage }: { stream: boolean; includeUsage: boolean },
): void => {
  if (!stream) {
    sendJson(response, 200, completionOf(answer, form), headersOf(answer));
    return;
  }
  const events = chunksOf(answer, form, includeUsage).map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  const headers = [...headersOf(answer), 'cache-control', 'no-cache'];
  send(response, 200, 'text/event-stream; charset=utf-8', `${events.join('')}data: [DONE]\n\n`, headers);
};

const namesTask = ({ serving }: HttpContext, body: unknown): boolean => {
  const model = (body as { model?: unknown } | null | undefined)?.model;
  return typeof model === 'string' && serving.get(model) !== undefined;
};

/** The upstream says what it thinks of a body that is no JSON. */
const parsed = (chunks: readonly Buffer[]): unknown => {
  try {
    return JSON.parse((chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString('utf8'));
  } catch {
    return undefined;
  }
};
