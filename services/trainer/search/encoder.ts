import { messageOf } from '@understudy/service/errors';
import { TrainingError } from '@understudy/student';
import { readEncoderFolder } from '@understudy/student/encoder/folder';

/** A published encoder by its content, or why it cannot be used: the folder is on whatever machine the task was written on. */
export type PinnedEncoder = { readonly digest: string; readonly modelBytes: number } | { readonly unusable: string };

/** Reads and checks an encoder's folder, so that another model in the same folder is another candidate. */
export async function pinEncoder(folder: string): Promise<PinnedEncoder> {
  try {
    const { digest, model } = await readEncoderFolder(folder);
    return { digest, modelBytes: model.length };
  } catch (error) {
    if (!(error instanceof TrainingError)) throw error;
    return { unusable: messageOf(error) };
  }
}
