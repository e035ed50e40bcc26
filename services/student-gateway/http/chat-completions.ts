import { questionOf } from '../answering/answering.ts';
import { readJson } from './body.ts';
import { chunksOf, completionOf, headersOf } from './chat-answer.ts';
import { inputOf, readChatRequest, ruleOf } from './chat-request.ts';
import type { Handler } from './context.ts';
import { servedTask, traceparentIn } from './request.ts';
import { send, sendJson } from './respond.ts';

/** `POST /v1/chat/completions`: the task is the model, and the content is the JSON that its teacher would give. */
export const chatCompletions: Handler = async (context, { caller, request, response }) => {
  const chat = readChatRequest(await readJson(request));
  const served = servedTask(context, caller, chat.model);
  const { task } = served.task;
  const question = questionOf(served, inputOf(task, chat.content), ruleOf(task));
  const answer = await context.answering.answer(served, question, traceparentIn(request));
  if (!chat.stream) return sendJson(response, 200, completionOf(answer), headersOf(answer));
  const events = chunksOf(answer, chat.includeUsage).map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  const headers = [...headersOf(answer), 'cache-control', 'no-cache'];
  send(response, 200, 'text/event-stream; charset=utf-8', `${events.join('')}data: [DONE]\n\n`, headers);
};
