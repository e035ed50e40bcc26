import type { Answer } from '../answering/answering.ts';

/** Enough to tell confidences apart, short enough for a header. */
const confidenceDigits = 6;

/** Who answered, how sure, and which student serves: beside OpenAI's own fields, in every protocol. */
export const provenanceOf = ({ answerer, confidence, requestId, served }: Answer) => ({
  answerer,
  confidence: confidence === undefined ? null : Number(confidence.toFixed(confidenceDigits)),
  student: served.deployment.studentDigest || null,
  generation: Number(served.deployment.generation),
  request_id: requestId,
});

/** The same as headers: names and values in turn. */
export const headersOf = (answer: Answer): string[] => {
  const { answerer, confidence, student, generation, request_id } = provenanceOf(answer);
  const headers = ['x-request-id', request_id, 'x-understudy-answerer', answerer];
  if (confidence !== null) headers.push('x-understudy-confidence', String(confidence));
  if (student !== null) headers.push('x-understudy-student', student);
  headers.push('x-understudy-generation', String(generation));
  return headers;
};

const usageOf = ({ promptTokens, completionTokens }: Answer) => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
});

/** What a reply looks like beside its answer: as the client asked for it. */
export interface ReplyForm {
  model: string;
  /** Function whose call holds the answer; the content does where there is none. */
  tool: string | undefined;
}

const envelopeOf = (answer: Answer, { model }: ReplyForm, object: string) => ({
  id: `chatcmpl-${answer.requestId}`,
  object,
  created: Math.floor(Date.now() / 1_000),
  model,
});

const toolCallOf = (answer: Answer, name: string) => ({
  id: `call_${answer.requestId}`,
  type: 'function',
  function: { name, arguments: answer.answerJson },
});

/** A chat completion. */
export const completionOf = (answer: Answer, form: ReplyForm) => ({
  ...envelopeOf(answer, form, 'chat.completion'),
  choices: [
    {
      index: 0,
      message:
        form.tool === undefined
          ? { role: 'assistant', content: answer.answerJson, refusal: null }
          : { role: 'assistant', content: null, refusal: null, tool_calls: [toolCallOf(answer, form.tool)] },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: usageOf(answer),
  understudy: provenanceOf(answer),
});

/** The same as chunks of a stream. */
export const chunksOf = (answer: Answer, form: ReplyForm, includeUsage: boolean): object[] => {
  const envelope = envelopeOf(answer, form, 'chat.completion.chunk');
  const { tool } = form;
  const usage = includeUsage ? { usage: null } : {};
  const chunk = (delta: object, finish_reason: 'stop' | null) => ({
    ...envelope,
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    ...usage,
  });
  const chunks: object[] = [
    {
      ...chunk({ role: 'assistant', content: tool === undefined ? '' : null, refusal: null }, null),
      understudy: provenanceOf(answer),
    },
    chunk(
      tool === undefined ? { content: answer.answerJson } : { tool_calls: [{ index: 0, ...toolCallOf(answer, tool) }] },
      null,
    ),
    chunk({}, 'stop'),
  ];
  if (includeUsage) chunks.push({ ...envelope, choices: [], usage: usageOf(answer) });
  return chunks;
};
