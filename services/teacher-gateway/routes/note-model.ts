import type { MessageInitShape } from '@bufbuild/protobuf';
import type { NoteModelRequest, NoteModelResponseSchema } from '@understudy/contract/teacher-gateway';
import { invalidArgument } from '@understudy/service/rpc/status';
import type { AnsweringContext } from '../context.ts';
import { MAX_MODEL_CHARACTERS } from '../limits.ts';

/** What answers by a model are kept under, noted so that prompts which come later find them. */
export const noteModel = async (
  { tasks }: AnsweringContext,
  { task, taskDigest, model }: NoteModelRequest,
): Promise<MessageInitShape<typeof NoteModelResponseSchema>> => {
  if (model.length > MAX_MODEL_CHARACTERS) {
    throw invalidArgument(`model: expected at most ${MAX_MODEL_CHARACTERS} characters, came ${model.length}`);
  }
  const known = await tasks.get(task, taskDigest);
  const fingerprint = model === '' ? await known.fingerprint() : await known.fingerprintOf({ model });
  return { fingerprint: fingerprint ?? '' };
};
