import type { TrainingState } from '@understudy/graph';
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
  version: z.literal(2),
  /** What was trained, on what, with what: see `trainingKey`. */
  key: z.string(),
  step: z.int().nonnegative(),
  /** Sum of the losses of the steps of the epoch under way. */
  epochLossSum: z.number(),
  history: z.array(EpochSchema),
  /** The file and the length of every tensor, in the order in which they follow one another in their files. */
  tensors: z.array(z.strictObject({ name: z.string(), file: z.string(), length: z.int().nonnegative() })),
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
const BEST = 'best.bin';
const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

type TensorEntry = z.infer<typeof HeaderSchema>['tensors'][number];
type Tensors = Readonly<Record<string, Float32Array>>;

/** One file for each part of the state, because one of it all can be larger than an archive takes, and names can be anything. */
const stateFile = (name: string): string => `state-${name.slice(name.lastIndexOf('.') + 1)}.bin`;

function concatenated(parts: readonly Float32Array[]): Uint8Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return bytesOf(all);
}

/** A checkpoint as one archive, verified when it is read. */
export function writeCheckpoint(key: string, progress: TrainingProgress): Promise<Uint8Array> {
  const { state, epochLossSum, history, best } = progress;
  const kept = [
    ...Object.entries(state.tensors).map(([name, values]) => ({ name, values, file: stateFile(name) })),
    ...Object.entries(best ?? {}).map(([name, values]) => ({ name, values, file: BEST })),
  ];
  const header: z.infer<typeof HeaderSchema> = {
    version: 2,
    key,
    step: state.step,
    epochLossSum,
    history: [...history],
    tensors: kept.map(({ name, file, values }) => ({ name, file, length: values.length })),
  };
  const files = new Map<string, Uint8Array>([[HEADER, new TextEncoder().encode(JSON.stringify(header))]]);
  for (const [file, tensors] of Map.groupBy(kept, (tensor) => tensor.file)) {
    files.set(file, concatenated(tensors.map(({ values }) => values)));
  }
  return writeArchive(files);
}

/** The tensors that a file holds. @throws RangeError when it is too short for them. */
function tensorsIn(bytes: Uint8Array | undefined, entries: readonly TensorEntry[]): Tensors {
  let at = 0;
  return Object.fromEntries(
    entries.map(({ name, file, length }) => {
      const values = new Float32Array(length);
      const part = bytes?.subarray(at, at + values.byteLength);
      if (part?.length !== values.byteLength) throw new RangeError(`${file} is too short for "${name}"`);
      bytesOf(values).set(part);
      at += values.byteLength;
      return [name, values] as const;
    }),
  );
}

/**
 * Reads a checkpoint back.
 * @throws CheckpointError when it is damaged, or belongs to another training than `key`.
 */
export async function readCheckpoint(key: string, checkpoint: Uint8Array): Promise<TrainingProgress> {
  let header: z.infer<typeof HeaderSchema>;
  const tensors = new Map<string, Tensors>();
  try {
    const files = await openArchive(checkpoint);
    header = HeaderSchema.parse(JSON.parse(new TextDecoder().decode(files.get(HEADER))));
    for (const [file, entries] of Map.groupBy(header.tensors, (entry) => entry.file)) {
      tensors.set(file, tensorsIn(files.get(file), entries));
    }
  } catch (cause) {
    throw new CheckpointError('the checkpoint is damaged', { cause });
  }
  if (header.key !== key) {
    throw new CheckpointError(`the checkpoint belongs to training ${header.key}, not to ${key}`);
  }
  const state = [...tensors].filter(([file]) => file !== BEST).map(([, part]) => part);
  return {
    state: { step: header.step, tensors: Object.assign({}, ...state) },
    epochLossSum: header.epochLossSum,
    history: header.history,
    best: tensors.get(BEST),
  };
}
