import { RUNTIME_VERSION } from '@understudy/graph';
import { bundleFiles, writeBundle } from './bundle.ts';
import { type Description, describedHeads } from './description.ts';
import type { ExportedStudent, StudentTraining } from './family.ts';
import { compare, type DevResult } from './heads/agreement.ts';
import { layoutOf } from './heads/layout.ts';
import { STUDENT_VERSION } from './key.ts';
import type { FinishedStudent, Learner, Precision } from './learner.ts';
import { openPredictor } from './predictor.ts';
import { loadTokenizer } from './tokenizer.ts';
import type { Trained } from './training.ts';

/** How much dev agreement may be given up for weights of a quarter of the size. */
export const MAX_INT8_LOSS = 0.005;

/** A trained candidate, before it is decided how its weights are stored. */
export type TrainedCandidate = {
  readonly settings: Learner['settings'];
  readonly trained: Trained;
  readonly finished: FinishedStudent;
};

type Measured = DevResult & { readonly precision: Precision; readonly model: Uint8Array };

/** Builds the finished model at a precision and measures it on dev, as it will be served. */
async function measure(
  { heads, dev, threads }: StudentTraining,
  { finished }: TrainedCandidate,
  precision: Precision,
): Promise<Measured> {
  const model = finished.model(precision);
  const predictor = await openPredictor(model, loadTokenizer(finished.tokenizer), heads, threads);
  const predictions = await predictor.predict(dev.map(({ text }) => text));
  await predictor.release();
  return { precision, model, ...compare(layoutOf(heads), predictions, dev) };
}

async function bundle(
  options: StudentTraining,
  { settings, trained, finished }: TrainedCandidate,
  { precision, model, devAgreement, devLoss }: Measured,
): Promise<ExportedStudent> {
  const { candidate, heads, lineage, train, dev, seed, threads, device = 'cpu', engine = 'ort' } = options;
  const description: Description = {
    version: 1,
    family: candidate.family,
    heads: describedHeads(heads),
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

/**
 * Makes a trained candidate into a bundle, with int8 weights unless they cost more than `MAX_INT8_LOSS` of agreement; whatever they
 * cost where it would be larger than `maxBytes` without them.
 */
export async function exportStudent(options: StudentTraining, candidate: TrainedCandidate): Promise<ExportedStudent> {
  const full = await measure(options, candidate, 'float32');
  const small = await measure(options, candidate, 'int8');
  if (small.devAgreement >= full.devAgreement - MAX_INT8_LOSS) return bundle(options, candidate, small);
  const exported = await bundle(options, candidate, full);
  const { maxBytes = Number.POSITIVE_INFINITY } = options;
  return exported.archive.length <= maxBytes ? exported : bundle(options, candidate, small);
}
