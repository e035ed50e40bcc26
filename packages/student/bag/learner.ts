import { PAD_ID } from '../bytes.ts';
import type { Learner, LearnerOptions, ParameterValues } from '../learner.ts';
import { MAX_TEXT_BYTES } from '../limits.ts';
import { byteTokenizerFiles } from '../tokenizer.ts';
import { batchShapeFor, encodedRows } from './batches.ts';
import type { BagHyperparameters } from './hyperparameters.ts';
import { bagInferenceModel } from './inference.ts';
import { type BagParameters, bagLogits, initialParameters, parameterSpecs, tableRowsOf } from './model.ts';
import { hashTexts } from './rows.ts';
import { renumbered, usedRows, wholeTable } from './used-rows.ts';

/** Hashes the texts, and opens a bag of the n-grams that train texts have. */
export async function openBag(options: LearnerOptions, settings: BagHyperparameters): Promise<Learner> {
  const { rows, width, dropout } = settings;
  const hash = (examples: LearnerOptions['train']) =>
    hashTexts(
      examples.map(({ text }) => text),
      rows,
      options.threads,
    );
  const hashed = await hash(options.train);
  const used = usedRows(hashed, rows);
  const train = renumbered(hashed, used, rows);
  const dev = renumbered(await hash(options.dev), used, rows);
  const tableRows = tableRowsOf({ usedRows: used.length });
  const batch = batchShapeFor(train, dev, settings, tableRows, options.seed);
  const trained = { usedRows: used.length, batchRows: batch.rows, labels: options.labels.length };
  const whole = (values: ParameterValues): BagParameters => {
    const { table, head, bias } = values as BagParameters;
    return { table: wholeTable(table, used, rows, width), head, bias };
  };
  return {
    settings,
    parameters: parameterSpecs(settings, trained),
    initial: initialParameters(settings, trained, options.seed),
    buckets: 1,
    logits: (graph, parameters, _bucket, clock) => bagLogits(graph, parameters, batch, dropout, clock),
    train: encodedRows(train, batch, tableRows),
    dev: encodedRows(dev, batch, tableRows),
    finish: (values) => ({
      model: (precision, output) => bagInferenceModel(settings, whole(values), precision, output),
      tokenizer: byteTokenizerFiles(),
      config: {
        architectures: ['BertForSequenceClassification'],
        model_type: 'bert',
        vocab_size: PAD_ID + 1,
        pad_token_id: PAD_ID,
        max_position_embeddings: MAX_TEXT_BYTES,
      },
    }),
  };
}
