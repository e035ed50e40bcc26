import { canonicalJson, sha256Hex } from './canonical.ts';
import { plainSchema } from './output/schema.ts';
import type { Task } from './schema.ts';

/** Why a call is not one input to one prompt with one answer, as a student could give it. */
export type CallObstacle =
  /** Not exactly a system message and a user message: earlier turns, several prompts, no input. */
  | 'conversation'
  /** Content that is no text: images, audio, files. */
  | 'not-text'
  /** It asks for what no student gives: several choices, log-probabilities, tools that are not forced, … */
  | 'options';

/** What a request for a chat completion asks, as far as tasks and workloads are told apart by it. */
export interface ChatCall {
  model: string;
  /** The prompt: text of the system (or developer) messages at the head; empty where there are none. */
  system: string;
  /** JSON Schema that the reply must fit, as it came; undefined where the call asks for none. */
  schema: unknown;
  /** Name of the function whose arguments are the answer; undefined where the content is. */
  tool: string | undefined;
  /** Text of the user message; undefined with an obstacle other than `options`. */
  user: string | undefined;
  obstacle: CallObstacle | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** Parameters that change how an answer is drawn or accounted, not what it is. Any other one is an obstacle. */
const HARMLESS = new Set(
  `model messages response_format tools tool_choice parallel_tool_calls stream stream_options temperature top_p seed
   max_tokens max_completion_tokens frequency_penalty presence_penalty reasoning_effort verbosity user metadata store
   service_tier safety_identifier prompt_cache_key prompt_cache_retention`.split(/\s+/),
);

/** Reads the body of a request for a chat completion; undefined where it is none. Never throws. */
export function readCall(body: unknown): ChatCall | undefined {
  if (!isObject(body) || typeof body.model !== 'string' || !Array.isArray(body.messages)) return undefined;
  const { model, messages } = body;
  const prompts = messages.findIndex((message) => !isObject(message) || !isPrompt(message));
  const head = messages.slice(0, prompts < 0 ? messages.length : prompts);
  const texts = head.map(textOf);
  const reply = replyOf(body);
  const user = messages.length === head.length + 1 ? userText(messages[head.length]) : undefined;
  const single = texts.length < 2 && messages.length === head.length + 1 && isUser(messages[head.length]);
  return {
    model,
    system: texts.map((text) => text ?? '').join('\n\n'),
    schema: reply?.schema,
    tool: reply?.tool,
    user: single ? user : undefined,
    obstacle: obstacleOf(body, single, user === undefined || texts.includes(undefined)),
  };
}

/**
 * Identity of what a call asks apart from its input: SHA-256 (hex) of system prompt and response schema (undefined: none).
 * Calls with the same identity are one workload, and those of a task with the same prompt and schema are that task's.
 */
export function workloadId(system: string, schema: unknown): string {
  return sha256Hex(canonicalJson({ system, schema }));
}

/** The workloads whose calls are this task's. */
export function workloadsOfTask({ prompt, output, matchCalls }: Task): readonly string[] {
  if (Array.isArray(matchCalls)) return matchCalls;
  return matchCalls ? [workloadId(prompt.instructions, plainSchema(output.schema))] : [];
}

/** What a template with one placeholder puts before and after its field; undefined where it has several, or none. */
export interface TemplateFrame {
  prefix: string;
  field: string;
  suffix: string;
}

export function templateFrame(template: string): TemplateFrame | undefined {
  const [prefix, field, suffix, ...more] = template.split(/\{\{\s*([A-Za-z][A-Za-z0-9_]*)\s*\}\}/);
  if (prefix === undefined || field === undefined || suffix === undefined || more.length > 0) return undefined;
  return { prefix, field, suffix };
}

/** The part of a user message that the frame surrounds; undefined where the message is not in the frame. */
export function insideFrame({ prefix, suffix }: TemplateFrame, user: string): string | undefined {
  const fits = user.length >= prefix.length + suffix.length && user.startsWith(prefix) && user.endsWith(suffix);
  return fits ? user.slice(prefix.length, user.length - suffix.length) : undefined;
}

function isObject(value: unknown): value is Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

const isPrompt = ({ role }: Fields): boolean => role === 'system' || role === 'developer';
const isUser = (message: unknown): boolean => isObject(message) && message.role === 'user';
const userText = (message: unknown): string | undefined => (isUser(message) ? textOf(message) : undefined);

/** Text of a message whose content is a string or parts of text. */
function textOf(message: unknown): string | undefined {
  if (!isObject(message)) return undefined;
  const { content } = message;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return undefined;
  let text = '';
  for (const part of content) {
    if (!isObject(part) || part.type !== 'text' || typeof part.text !== 'string') return undefined;
    text += part.text;
  }
  return text;
}

function obstacleOf(body: Fields, single: boolean, notText: boolean): CallObstacle | undefined {
  if (!single) return 'conversation';
  if (notText) return 'not-text';
  for (const [name, value] of Object.entries(body)) {
    if (HARMLESS.has(name) || value === null || value === false) continue;
    if (name === 'n' && value === 1) continue;
    return 'options';
  }
  const hasTools = Array.isArray(body.tools) && body.tools.length > 0;
  const asksBoth = hasTools && isObject(body.response_format) && body.response_format.type !== 'text';
  return hasTools && (asksBoth || forcedTool(body) === undefined) ? 'options' : undefined;
}

/** Where the answer is in the reply, and the schema it must fit. */
function replyOf(body: Fields): { schema: unknown; tool: string | undefined } | undefined {
  const tool = forcedTool(body);
  if (tool) return { schema: tool.parameters, tool: String(tool.name) };
  const { response_format: format } = body;
  if (!isObject(format) || format.type !== 'json_schema' || !isObject(format.json_schema)) return undefined;
  return { schema: format.json_schema.schema, tool: undefined };
}

/** The one function that the call lets the model use, and makes it use. */
function forcedTool({ tools, tool_choice: choice }: Fields): Fields | undefined {
  if (!Array.isArray(tools)) return undefined;
  const functions = tools.flatMap((tool) => (isObject(tool) && isObject(tool.function) ? [tool.function] : []));
  if (choice === 'required') return tools.length === 1 ? functions[0] : undefined;
  if (!isObject(choice) || !isObject(choice.function)) return undefined;
  const { name } = choice.function;
  return functions.find((one) => typeof name === 'string' && one.name === name);
}
