/**
 * Logs of calls that were made and answered before, as finished pairs. Two forms of a record are read: request and response
 * side by side (`{"request": …, "response": …}`, with `timestamp`, `workload_id` and `client_id`, or the bodies of a
 * provider's batch files), and a stored completion with its `messages`.
 */
import { readCall } from './call.ts';
import { canonicalJson, sha256Hex } from './canonical.ts';
import type { CompiledTask, RenderedPrompt } from './compile.ts';
import { InputError } from './errors.ts';

/** Why a record is no pair of the task. */
export type LogFault =
  | 'not-a-call' // no request for a chat completion with a response to it
  | 'failed-call' // the provider answered with an error
  | 'other-prompt' // it was told something else than the task's instructions
  | 'conversation' // more than the instructions, the task's examples and one message
  | 'not-text' // images, audio, files
  | 'other-input' // the message is not one that the task's template makes
  | 'several-answers'
  | 'cut-off' // the answer hit a limit of tokens
  | 'refused'
  | 'no-answer'
  | 'invalid-answer'; // the answer is outside the task's output schema

export interface LoggedPair extends RenderedPrompt {
  /** Canonical JSON. */
  answerJson: string;
  /** SHA-256 (hex) of the task's prompt and schema and the model that the log names: never one of a pair asked by this platform. */
  fingerprint: string;
  model: string;
  /** When it was answered, in ms since 1970; undefined where the log does not say. */
  answeredAtMs: number | undefined;
  inputTokens: number;
  outputTokens: number;
}

export type LoggedRecord = { ok: true; pair: LoggedPair } | { ok: false; fault: LogFault; message: string };

type Fields = Readonly<Record<string, unknown>>;

/** Reads one record of a log. Never throws. */
export function readLogged(compiled: CompiledTask, record: unknown): LoggedRecord {
  const call = callOf(record);
  if (call === undefined) {
    return refuse('not-a-call', 'expected a request for a chat completion and its response, got something else');
  }
  const asked = inputOf(compiled, call.request);
  if (!asked.ok) return asked;
  const content = contentOf(call.response, asked.tool);
  if (!content.ok) return content;
  const answer = compiled.parseAnswer(content.text, asked.prompt.text);
  if (!answer.ok) return refuse('invalid-answer', `${answer.reason}: ${answer.message}`);
  const { model, usage, created } = call.response as { model?: unknown; usage?: Fields; created?: unknown };
  const named = typeof model === 'string' && model !== '' ? model : asked.model;
  return {
    ok: true,
    pair: {
      ...asked.prompt,
      answerJson: answer.answer,
      fingerprint: loggedFingerprint(compiled, named),
      model: named,
      answeredAtMs: timeOf(call.timestamp ?? created),
      inputTokens: count(usage?.prompt_tokens),
      outputTokens: count(usage?.completion_tokens),
    },
  };
}

function loggedFingerprint({ task }: CompiledTask, model: string): string {
  return sha256Hex(`logged\n${canonicalJson({ prompt: task.prompt, schema: task.output.schema, model })}`);
}

interface LoggedCall {
  request: Fields;
  response: Fields;
  timestamp: unknown;
}

function callOf(record: unknown): LoggedCall | undefined {
  if (!isObject(record)) return undefined;
  const timestamp = record.timestamp ?? record.created_at;
  const { request, response } = record;
  if (isObject(request) && isObject(response)) {
    const status = response.status_code ?? record.status_code;
    const body = isObject(response.body) ? response.body : response;
    const failed = typeof status === 'number' && status !== 200;
    const told = failed && body.error === undefined ? { error: { message: `status ${status}` } } : body;
    return { request: isObject(request.body) ? request.body : request, response: told, timestamp };
  }
  if (!Array.isArray(record.messages) || !Array.isArray(record.choices)) return undefined;
  return { request: { model: record.model, messages: record.messages }, response: record, timestamp };
}

type Asked = { ok: true; prompt: RenderedPrompt; model: string; tool: string | undefined };
type Refused = Extract<LoggedRecord, { ok: false }>;

function inputOf(compiled: CompiledTask, request: Fields): Asked | Refused {
  const call = readCall(withoutExamples(compiled, request));
  if (call === undefined) return refuse('not-a-call', 'the request has no model and messages');
  if (call.user === undefined) {
    const fault = call.obstacle === 'not-text' ? 'not-text' : 'conversation';
    return refuse(
      fault,
      `expected instructions and one message of text, got ${fault === 'not-text' ? 'other content' : 'further messages'}`,
    );
  }
  if (folded(call.system) !== folded(compiled.task.prompt.instructions)) {
    return refuse('other-prompt', `expected the task's instructions, got ${excerpt(call.system)}`);
  }
  const prompt = promptFrom(compiled, call.user);
  if (prompt === undefined) {
    return refuse('other-input', `expected a message that prompt.template makes, got ${excerpt(call.user)}`);
  }
  return { ok: true, prompt, model: call.model, tool: call.tool };
}

/** Without the task's own examples, which a teacher may have been shown as earlier turns. */
function withoutExamples({ task, renderPrompt }: CompiledTask, request: Fields): Fields {
  const { messages } = request;
  if (!Array.isArray(messages) || task.examples.length === 0) return request;
  const shown = new Set(task.examples.map(({ input }) => renderPrompt(input).text));
  const kept: unknown[] = [];
  for (let i = 0; i < messages.length; i += 1) {
    const [one, next] = [messages[i], messages[i + 1]];
    const isExample =
      isObject(one) &&
      one.role === 'user' &&
      shown.has(String(one.content)) &&
      isObject(next) &&
      next.role === 'assistant';
    if (isExample) i += 1;
    else kept.push(one);
  }
  return { ...request, messages: kept };
}

/**
 * The input that a message was made of: its fields as JSON, or the parts of it that the template's placeholders stand for (each
 * as short as possible), or, for a task with one field, all of it. Undefined where none of these gives the message back.
 */
export function promptFrom(compiled: CompiledTask, message: string): RenderedPrompt | undefined {
  const { fields } = compiled.task.input;
  const inTemplate = fieldsIn(compiled.task.prompt.template, message);
  const [only, ...others] = fields;
  const candidates = [
    fieldsOfJson(message),
    inTemplate,
    only !== undefined && others.length === 0 ? { [only]: message } : undefined,
  ];
  for (const candidate of candidates) {
    if (candidate === undefined) continue;
    try {
      const prompt = compiled.renderPrompt(
        Object.fromEntries(fields.map((field) => [field, '']).concat(Object.entries(candidate))),
      );
      if (candidate !== inTemplate || folded(prompt.text) === folded(message)) return prompt;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
    }
  }
  return undefined;
}

function fieldsOfJson(message: string): Record<string, string> | undefined {
  if (!message.trimStart().startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(message);
    return isObject(value) ? (value as Record<string, string>) : undefined;
  } catch {
    return undefined;
  }
}

function fieldsIn(template: string, message: string): Record<string, string> | undefined {
  const parts = template.split(/\{\{\s*([A-Za-z][A-Za-z0-9_]*)\s*\}\}/);
  const fields: Record<string, string> = {};
  if (!message.startsWith(parts[0] ?? '')) return undefined;
  let at = (parts[0] ?? '').length;
  for (let i = 1; i < parts.length; i += 2) {
    const [field, literal, isLast] = [parts[i] ?? '', parts[i + 1] ?? '', i + 2 >= parts.length];
    // Two placeholders side by side: nothing says where one ends.
    if (literal === '' && !isLast) return undefined;
    const end = isLast ? message.length - literal.length : message.indexOf(literal, at);
    if (end < at || !message.startsWith(literal, end)) return undefined;
    const value = message.slice(at, end);
    if (Object.hasOwn(fields, field) && fields[field] !== value) return undefined;
    fields[field] = value;
    at = end + literal.length;
  }
  return fields;
}

function contentOf(response: Fields, tool: string | undefined): { ok: true; text: string } | Refused {
  if (isObject(response.error))
    return refuse('failed-call', `the provider answered an error: ${excerpt(JSON.stringify(response.error))}`);
  const choices: unknown[] = Array.isArray(response.choices) ? response.choices : [];
  if (choices.length > 1) return refuse('several-answers', `expected one choice, got ${choices.length}`);
  const [choice] = choices;
  if (!isObject(choice) || !isObject(choice.message))
    return refuse('no-answer', 'expected a choice with a message, got none');
  const { message } = choice;
  if (typeof message.refusal === 'string') return refuse('refused', `the model refused: ${excerpt(message.refusal)}`);
  if (choice.finish_reason === 'length') return refuse('cut-off', 'the answer was cut off at a limit of tokens');
  if (tool !== undefined) {
    const calls: unknown[] = Array.isArray(message.tool_calls) ? message.tool_calls : [];
    const [made] = calls;
    if (calls.length > 1) return refuse('several-answers', `expected one call of ${tool}, got ${calls.length}`);
    if (isObject(made) && isObject(made.function) && typeof made.function.arguments === 'string') {
      return { ok: true, text: made.function.arguments };
    }
  }
  if (typeof message.content !== 'string') return refuse('no-answer', 'expected a message of text, got none');
  return { ok: true, text: message.content };
}

/** Seconds or milliseconds since 1970, or a date. */
function timeOf(value: unknown): number | undefined {
  const number = typeof value === 'number' ? value : Number.NaN;
  const ms = Number.isNaN(number) ? Date.parse(String(value)) : number < 1e11 ? number * 1_000 : number;
  return ms > 0 && ms < 1e14 ? ms : undefined;
}

const count = (value: unknown): number => (typeof value === 'number' && value >= 0 ? Math.floor(value) : 0);

const folded = (text: string): string => text.normalize('NFC').replace(/\s+/g, ' ').trim();

const excerpt = (text: string): string => JSON.stringify(text.length <= 80 ? text : `${text.slice(0, 80)}…`);

const refuse = (fault: LogFault, message: string): Refused => ({ ok: false, fault, message });

function isObject(value: unknown): value is Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
