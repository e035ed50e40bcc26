import { RUNTIME_VERSION } from '@understudy/graph';
import { bundleFiles, writeBundle } from './bundle.ts';
import type { Description } from './description.ts';
import { compare, type DevResult } from './evaluate.ts';
import type { ExportedStudent, StudentTraining } from './family.ts';
import { STUDENT_VERSION } from './key.ts';
import type { FinishedStudent, Learner, Precision } from './learner.ts';
import { openPredictor } from './predictor.ts';
import { loadTokenizer } from './tokenizer.ts';
import type { Trained } from './training.ts';

/** How much dev agreement may be given up for weights of a quarter of the size. */
export const MAX_INT8_LOSS = 0.005;

/** The model output of a field. A dot is in no field's name, so it collides with no other output or input. */
const outputName = (field: string): string => `logits.${field}`;

/** A trained candidate, before it is decided how its weights are stored. */
export type TrainedCandidate = {
  readonly settings: Learner['settings'];
  readonly trained: Trained;
  readonly finished: FinishedStudent;
};

type Measured = DevResult & { readonly precision: Precision; readonly model: Uint8Array };

/** Builds the finished model at a precision and measures it on dev, as it will be served. */
async function measure(
  { field, dev, threads }: StudentTraining,
  { finished }: TrainedCandidate,
  precision: Precision,
): Promise<Measured> {
  const output = outputName(field);
  const model = finished.model(precision, output);
  const predictor = await openPredictor(model, loadTokenizer(finished.tokenizer), output, threads);
  const logits = await predictor.predict(dev.map(({ text }) => text));
  await predictor.release();
  return { precision, model, ...compare(logits, dev) };
}

async function bundle(
  options: StudentTraining,
  { settings, trained, finished }: TrainedCandidate,
  { precision, model, devAgreement, devLoss }: Measured,
): Promise<ExportedStudent> {
  const { candidate, field, lineage, labels, train, dev, seed, threads, device = 'cpu', engine = 'ort' } = options;
  const description: Description = {
    version: 1,
    family: candidate.family,
    heads: [{ field, output: outputName(field), kind: 'softmax', labels: [...labels] }],
    lineage,
    training: {
      code: `understudy students ${STUDENT_VERSION}`,
      runtime: RUNTIME_VERSION,
      seed,
      threads,
      engine,
      device,
      hyperparameters: { ...settings },
      trainExamples: train.length,
      devExamples: dev.length,
      epochs: [...trained.history],
      pretrained: finished.pretrained,
    },
    precision,
    devAgreement,
    devLoss,
  };
  return { ...(await writeBundle(bundleFiles(description, model, finished))), description };
}

/** Makes a trained candidate into a bundle with its weights stored one way. */
export const exportAt = async (
  options: StudentTraining,
  candidate: TrainedCandidate,
  precision: Precision,
): Promise<ExportedStudent> => bundle(options, candidate, await measure(options, candidate, precision));

/** Makes a trained candidate into a bundle, with int8 weights unless they cost more than `MAX_INT8_LOSS` of agreement. */
export async function exportStudent(options: StudentTraining, candidate: TrainedCandidate): Promise<ExportedStudent> {
  const full = await measure(options, candidate, 'float32');
  const small = await measure(options, candidate, 'int8');
  const chosen = small.devAgreement >= full.devAgreement - MAX_INT8_LOSS ? small : full;
  return bundle(options, candidate, chosen);
}
