import { RUNTIME_VERSION } from '@understudy/graph';
import { bundleFiles, writeBundle } from './bundle.ts';
import type { Description } from './description.ts';
import { compare, type DevResult } from './evaluate.ts';
import type { ExportedStudent, StudentTraining } from './family.ts';
import { STUDENT_VERSION } from './key.ts';
import type { FinishedStudent, LoopSettings, Precision } from './learner.ts';
import { openPredictor } from './predictor.ts';
import { loadTokenizer } from './tokenizer.ts';
import type { Trained } from './training.ts';

/** How much dev agreement may be given up for weights of a quarter of the size. */
export const MAX_INT8_LOSS = 0.005;

/** The model output of a field. A dot is in no field's name, so it collides with no other output or input. */
const outputName = (field: string): string => `logits.${field}`;

type Measured = DevResult & { readonly precision: Precision; readonly model: Uint8Array };

/** Builds the finished model at a precision and measures it on dev, as it will be served. */
async function measure(
  { field, dev, threads }: StudentTraining,
  finished: FinishedStudent,
  precision: Precision,
): Promise<Measured> {
  const output = outputName(field);
  const model = finished.model(precision, output);
  const predictor = await openPredictor(model, loadTokenizer(finished.tokenizer), output, threads);
  const logits = await predictor.predict(dev.map(({ text }) => text));
  await predictor.release();
  return { precision, model, ...compare(logits, dev) };
}

/** Makes a trained student into a bundle, with int8 weights unless they cost more than `MAX_INT8_LOSS` of agreement. */
export async function exportStudent(
  options: StudentTraining,
  settings: LoopSettings,
  { history }: Trained,
  finished: FinishedStudent,
): Promise<ExportedStudent> {
  const full = await measure(options, finished, 'float32');
  const small = await measure(options, finished, 'int8');
  const chosen = small.devAgreement >= full.devAgreement - MAX_INT8_LOSS ? small : full;
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
      epochs: [...history],
      pretrained: finished.pretrained,
    },
    precision: chosen.precision,
    devAgreement: chosen.devAgreement,
    devLoss: chosen.devLoss,
  };
  return { ...(await writeBundle(bundleFiles(description, chosen.model, finished))), description };
}
