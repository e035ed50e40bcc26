import type { MessageInitShape } from '@bufbuild/protobuf';
import { Source } from '@understudy/contract';
import type { SampledPromptSchema, StreamSampleRequest } from '@understudy/contract/prompt';
import { messageOf } from '@understudy/service/errors';
import type { CallContext } from '@understudy/service/rpc/server';
import { failedPrecondition, notFound } from '@understudy/service/rpc/status';
import type { PromptContext } from '../context.ts';
import { forgottenOf } from '../erasure/forgotten.ts';
import { STREAM_SAMPLE_CHARACTERS, STREAM_SAMPLE_PROMPTS } from '../limits.ts';
import { drawSample, SampleError } from '../sample.ts';
import { openSources } from '../sources/read.ts';
import { SourceError } from '../sources/source.ts';
import { until } from '../steps.ts';
import { unwritten } from './draw-sample.ts';

type PromptInit = MessageInitShape<typeof SampledPromptSchema> & { inputJson: string };

/** Draws what a run of the task would ask first: a sample depends on the population alone, so a later run asks the same. */
export async function* streamSample(context: PromptContext, request: StreamSampleRequest, call: CallContext) {
  const { task: name, taskDigest } = request;
  const compiled = taskDigest === '' ? await context.tasks.newest(name) : await context.tasks.byDigest(taskDigest);
  if (compiled?.task.name !== name) throw notFound(`no task ${[name, taskDigest].join(' ').trim()}: apply it first`);
  const { calls } = compiled.task.budget;
  const sources = until(call.signal, openSources(compiled, { s3: context.config, write: unwritten }));
  try {
    const { prompts, pairs } = await drawSample(
      compiled,
      sources,
      Math.min(request.prompts || calls, calls),
      await forgottenOf(context, name),
    );
    const asked = prompts.slice(pairs).map(
      ({ promptId, inputJson, weight, referenceJson, trainsOnly, origin }): PromptInit => ({
        ...{ promptId, inputJson, weight, referenceJson, origin: origin ?? '' },
        source: trainsOnly ? Source.SELECTED : Source.RANDOM,
      }),
    );
    yield* messagesOf(asked);
  } catch (error) {
    if (error instanceof SourceError || error instanceof SampleError) throw failedPrecondition(messageOf(error));
    throw error;
  }
}

function* messagesOf(prompts: readonly PromptInit[]): Generator<{ prompts: PromptInit[] }> {
  let [message, characters]: [PromptInit[], number] = [[], 0];
  for (const prompt of prompts) {
    message.push(prompt);
    characters += prompt.inputJson.length;
    if (message.length < STREAM_SAMPLE_PROMPTS && characters < STREAM_SAMPLE_CHARACTERS) continue;
    yield { prompts: message };
    [message, characters] = [[], 0];
  }
  if (message.length > 0) yield { prompts: message };
}
