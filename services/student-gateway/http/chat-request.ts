import type { Task } from '@understudy/task';
import { badRequest } from '../errors.ts';

/** What this gateway reads of a request for a chat completion; sampling parameters change nothing here. */
export interface ChatRequest {
  /** The task's name. */
  model: string;
  /** Content of the last user message. */
  content: string;
  stream: boolean;
  /** With `stream`: a last chunk tells the usage. */
  includeUsage: boolean;
}

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** @throws RequestError (bad-request) naming the parameter */
export const readChatRequest = (body: unknown): ChatRequest => {
  if (!isObject(body)) throw badRequest('the body: expected a JSON object with "model" and "messages"');
  const { model, messages, n, stream, tools } = body;
  if (typeof model !== 'string')
    throw badRequest('model: expected the name of a task, as GET /v1/models lists them', 'model');
  if (n !== undefined && n !== null && n !== 1) throw badRequest('n: expected 1: a task has one answer', 'n');
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw badRequest('stream: expected true or false', 'stream');
  }
  if (Array.isArray(tools) && tools.length > 0) {
    throw badRequest("tools: expected none: the task's output schema fixes the answer", 'tools');
  }
  return {
    model,
    content: lastUserContent(messages),
    ...streamOf(body),
  };
};

/** Whether a valid request asks for a stream, and for the usage at its end. */
export const streamOf = ({ stream, stream_options: options }: Fields): { stream: boolean; includeUsage: boolean } => ({
  stream: stream === true,
  includeUsage: isObject(options) && options.include_usage === true,
});

const lastUserContent = (messages: unknown): string => {
  if (!Array.isArray(messages)) throw badRequest('messages: expected a list of messages', 'messages');
  const index = messages.findLastIndex((message) => isObject(message) && message.role === 'user');
  if (index < 0) throw badRequest('messages: expected one with the role "user"', 'messages');
  const { content } = messages[index] as Fields;
  if (typeof content === 'string') return content;
  const where = `messages[${index}].content`;
  if (!Array.isArray(content)) throw badRequest(`${where}: expected a string or a list of text parts`, where);
  return content.map((part) => textOf(part, where)).join('');
};

const textOf = (part: unknown, where: string): string => {
  if (isObject(part) && part.type === 'text' && typeof part.text === 'string') return part.text;
  throw badRequest(`${where}: expected parts of type "text" only: students read text`, where);
};

/**
 * The task's input in a message: a JSON object with the task's fields, or, for a task with one field, any other text as
 * that field.
 * @throws RequestError (bad-request) stating the rule
 */
export const inputOf = (task: Task, content: string): unknown => {
  const { fields } = task.input;
  const value = content.trimStart().startsWith('{') ? parsed(content) : undefined;
  if (fields.length > 1) {
    if (isObject(value)) return value;
    throw badRequest(`${ruleOf(task)}; what came is no JSON object`, 'messages');
  }
  const [field] = fields as [string];
  const isInput = isObject(value) && Object.keys(value).length === 1 && Object.hasOwn(value, field);
  return isInput ? value : { [field]: content };
};

/** How inputs are sent, for error messages. */
export const ruleOf = ({ name, input: { fields } }: Task): string => {
  const keys = fields.map((field) => JSON.stringify(field)).join(', ');
  return fields.length === 1
    ? `the last user message of task ${name} is its input: plain text, or a JSON object with the key ${keys}`
    : `the last user message of task ${name} is its input: a JSON object with exactly the keys ${keys}, all strings`;
};

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // then it is plain text, or the caller says what was expected
  }
};
