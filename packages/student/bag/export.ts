import { RUNTIME_VERSION } from '@understudy/graph';
import { bundleFiles, writeBundle } from '../bundle.ts';
import type { Description, Lineage } from '../description.ts';
import type { Example } from '../examples.ts';
import type { ExportedStudent } from '../family.ts';
import { openPredictor } from '../predictor.ts';
import { compare, type DevResult } from './evaluate.ts';
import { bagInferenceModel, type Precision } from './inference.ts';
import { BAG_VERSION } from './key.ts';
import type { TrainedBag } from './train.ts';

/** How much dev agreement may be given up for a table of a quarter of the size. */
export const MAX_INT8_LOSS = 0.005;

export type ExportOptions = {
  readonly trained: TrainedBag;
  readonly field: string;
  readonly train: readonly Example[];
  readonly dev: readonly Example[];
  readonly lineage: Lineage;
};

type Candidate = DevResult & { readonly precision: Precision; readonly model: Uint8Array };

/** Builds the finished model at a precision and measures it on dev, as it will be served. */
async function candidate({ trained, field, dev }: ExportOptions, precision: Precision): Promise<Candidate> {
  const output = outputName(field);
  const model = bagInferenceModel(trained.hyperparameters, trained.parameters, precision, output);
  const predictor = await openPredictor(model, output, trained.threads);
  const logits = await predictor.predict(dev.map(({ text }) => text));
  await predictor.release();
  return { precision, model, ...compare(logits, dev) };
}

/** The model output of a field. A dot is in no field's name, so it collides with no other output or input. */
const outputName = (field: string): string => `logits.${field}`;

/** Makes a trained student into a bundle, with an int8 table unless that costs more than `MAX_INT8_LOSS` of agreement. */
export async function exportBag(options: ExportOptions): Promise<ExportedStudent> {
  const [full, small] = [await candidate(options, 'float32'), await candidate(options, 'int8')];
  const chosen = small.devAgreement >= full.devAgreement - MAX_INT8_LOSS ? small : full;
  const { trained, field, lineage, train, dev } = options;
  const { labels, seed, threads, device, hyperparameters, history } = trained;
  const description: Description = {
    version: 1,
    family: 'bag',
    heads: [{ field, output: outputName(field), kind: 'softmax', labels: [...labels] }],
    lineage,
    training: {
      code: `understudy bag ${BAG_VERSION}`,
      runtime: RUNTIME_VERSION,
      seed,
      threads,
      device,
      hyperparameters: { ...hyperparameters },
      trainExamples: train.length,
      devExamples: dev.length,
      epochs: [...history],
    },
    precision: chosen.precision,
    devAgreement: chosen.devAgreement,
    devLoss: chosen.devLoss,
  };
  return { ...(await writeBundle(bundleFiles(description, chosen.model))), description };
}
