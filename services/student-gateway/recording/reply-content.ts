/** What a model said, out of the bytes of its reply. */

export interface ReplyContent {
  /** The one answer: content, or arguments of the one function called; undefined where there is not exactly one whole. */
  output: string | undefined;
  model: string | undefined;
  usage: { inputTokens: number; outputTokens: number } | undefined;
}

type Fields = Record<string, unknown>;

const nothing: ReplyContent = { output: undefined, model: undefined, usage: undefined };

const fieldsOf = (value: unknown): Fields =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : {};

const listOf = (value: unknown): Fields[] => (Array.isArray(value) ? value.map(fieldsOf) : []);

const parsed = (text: string): Fields => {
  try {
    return fieldsOf(JSON.parse(text));
  } catch {
    return {}; // a reply that is no JSON has no content that could be kept
  }
};

/** @param tool the function whose arguments are the answer; the content is where there is none */
export const readCompletion = (body: string, tool: string | undefined): ReplyContent => {
  const completion = parsed(body);
  const choices = listOf(completion.choices);
  const message = fieldsOf(choices[0]?.message);
  const answer = {
    content: typeof message.content === 'string' ? message.content : '',
    refused: typeof message.refusal === 'string',
    calls: listOf(message.tool_calls).map(({ function: called }) => fieldsOf(called)),
    finish: choices[0]?.finish_reason,
  };
  return {
    ...shared(completion),
    output: choices.length === 1 ? outputOf(answer, tool) : undefined,
  };
};

/** The same out of the events of a stream. */
export const readStream = (body: string, tool: string | undefined): ReplyContent => {
  const answer: StreamedAnswer = { content: '', refused: false, calls: [], finish: undefined };
  let about = nothing;
  let done = false;
  for (const line of body.split(/\r\n|\n|\r/)) {
    if (!line.startsWith('data:')) continue;
    const data = line.slice('data:'.length).trim();
    if (data === '[DONE]') {
      done = true;
      continue;
    }
    const chunk = parsed(data);
    const { model, usage } = shared(chunk);
    about = { output: undefined, model: model ?? about.model, usage: usage ?? about.usage };
    for (const choice of listOf(chunk.choices)) addDelta(answer, choice);
  }
  return { ...about, output: done ? outputOf(answer, tool) : undefined };
};

interface StreamedAnswer {
  content: string;
  refused: boolean;
  calls: Fields[];
  finish: unknown;
}

const addDelta = (answer: StreamedAnswer, choice: Fields): void => {
  if (choice.index !== undefined && choice.index !== 0) answer.finish = 'several choices';
  const delta = fieldsOf(choice.delta);
  if (typeof delta.content === 'string') answer.content += delta.content;
  if (typeof delta.refusal === 'string') answer.refused = true;
  for (const call of listOf(delta.tool_calls)) {
    const index = Number(call.index ?? 0);
    const part = fieldsOf(call.function);
    const whole = answer.calls[index] ?? { arguments: '' };
    answer.calls[index] = whole;
    if (typeof part.name === 'string') whole.name = part.name;
    if (typeof part.arguments === 'string') whole.arguments = String(whole.arguments) + part.arguments;
  }
  answer.finish ??= choice.finish_reason ?? undefined;
};

const outputOf = (
  { content, refused, calls, finish }: StreamedAnswer,
  tool: string | undefined,
): string | undefined => {
  if (refused || (finish !== 'stop' && finish !== 'tool_calls')) return undefined;
  if (tool === undefined) return calls.length === 0 && content !== '' ? content : undefined;
  const [call] = calls;
  return calls.length === 1 && call?.name === tool && typeof call.arguments === 'string' ? call.arguments : undefined;
};

const shared = ({ model, usage }: Fields): Omit<ReplyContent, 'output'> => {
  const { prompt_tokens: input, completion_tokens: output } = fieldsOf(usage);
  const counted =
    Number.isSafeInteger(input) && Number.isSafeInteger(output) && Number(input) >= 0 && Number(output) >= 0;
  return {
    model: typeof model === 'string' ? model : undefined,
    usage: counted ? { inputTokens: Number(input), outputTokens: Number(output) } : undefined,
  };
};
