import { stateInput, type TrainingState } from '@understudy/graph';
import { z } from 'zod';
import { openArchive, writeArchive } from './archive.ts';
import { CheckpointError } from './errors.ts';

/** Where a training keeps its one checkpoint; the newest replaces the one before. */
export type CheckpointStore = {
  /** The checkpoint that was saved last, or undefined where there is none. */
  readonly load: () => Promise<Uint8Array | undefined>;
  /** Resolves when the checkpoint will survive the process. */
  readonly save: (checkpoint: Uint8Array) => Promise<void>;
};

const EpochSchema = z.strictObject({
  /** Counted from 1. */
  epoch: z.int().positive(),
  /** Mean loss of the epoch's steps, in nats. */
  loss: z.number(),
  /** Weighted share of dev examples on which the student gives the teacher's label, 0..1. */
  devAgreement: z.number().min(0).max(1),
  /** Mean cross-entropy against the teacher's probabilities on dev, in nats. */
  devLoss: z.number(),
});
export type EpochResult = z.infer<typeof EpochSchema>;

const HeaderSchema = z.strictObject({
  version: z.literal(1),
  /** What was trained, on what, with what: see `trainingKey`. */
  key: z.string(),
  step: z.int().nonnegative(),
  /** Sum of the losses of the steps of the epoch under way. */
  epochLossSum: z.number(),
  history: z.array(EpochSchema),
});

/** All that a training needs to go on as if it had not stopped. */
export type TrainingProgress = {
  readonly state: TrainingState;
  readonly epochLossSum: number;
  readonly history: readonly EpochResult[];
  /** Parameter values after the best epoch so far, by name; undefined before the first epoch ends. */
  readonly best: Readonly<Record<string, Float32Array>> | undefined;
};

const HEADER = 'checkpoint.json';
const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A checkpoint as one archive, verified when it is read. */
export function writeCheckpoint(key: string, progress: TrainingProgress): Promise<Uint8Array> {
  const { state, epochLossSum, history, best } = progress;
  const header = { version: 1, key, step: state.step, epochLossSum, history: [...history] } satisfies z.infer<
    typeof HeaderSchema
  >;
  const files = new Map<string, Uint8Array>([[HEADER, new TextEncoder().encode(JSON.stringify(header))]]);
  for (const [name, values] of Object.entries(state.tensors)) files.set(`state/${name}`, bytesOf(values));
  for (const [name, values] of Object.entries(best ?? {}))
    files.set(`best/${stateInput(name, 'value')}`, bytesOf(values));
  return writeArchive(files);
}

function floats(bytes: Uint8Array): Float32Array {
  const values = new Float32Array(bytes.length / Float32Array.BYTES_PER_ELEMENT);
  bytesOf(values).set(bytes);
  return values;
}

/** The tensors under a folder of the archive, under their names. */
const tensorsIn = (files: ReadonlyMap<string, Uint8Array>, folder: string, suffix = ''): Record<string, Float32Array> =>
  Object.fromEntries(
    [...files]
      .filter(([path]) => path.startsWith(folder))
      .map(([path, bytes]) => [path.slice(folder.length, path.length - suffix.length), floats(bytes)]),
  );

/**
 * Reads a checkpoint back.
 * @throws CheckpointError when it is damaged, or belongs to another training than `key`.
 */
export async function readCheckpoint(key: string, checkpoint: Uint8Array): Promise<TrainingProgress> {
  let files: Map<string, Uint8Array>;
  let header: z.infer<typeof HeaderSchema>;
  try {
    files = await openArchive(checkpoint);
    header = HeaderSchema.parse(JSON.parse(new TextDecoder().decode(files.get(HEADER))));
  } catch (cause) {
    throw new CheckpointError('the checkpoint is damaged', { cause });
  }
  if (header.key !== key) {
    throw new CheckpointError(`the checkpoint belongs to training ${header.key}, not to ${key}`);
  }
  const best = tensorsIn(files, 'best/', '.value');
  return {
    state: { step: header.step, tensors: tensorsIn(files, 'state/') },
    epochLossSum: header.epochLossSum,
    history: header.history,
    best: Object.keys(best).length > 0 ? best : undefined,
  };
}
