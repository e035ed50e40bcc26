import type { Clock, Graph, LayerParameter, Parameters, Value } from '@understudy/graph';
import { byteTokenizer, PAD_ID } from '../bytes.ts';
import type { Layout } from '../heads/layout.ts';
import { linearHeads } from '../heads/linear.ts';
import type { HeadLogits } from '../heads/loss.ts';
import type { EncodedTexts, FinishedStudent, Learner, LearnerOptions, ParameterValues } from '../learner.ts';
import { MAX_TEXT_BYTES } from '../limits.ts';
import { offsetsOf } from '../offsets.ts';
import { bucketLengths, encodedSequences } from '../sequence/batches.ts';
import { byteTokenizerFiles } from '../tokenizer.ts';
import { type BatchShape, batchShapeFor, encodedRows } from './batches.ts';
import type { BagHyperparameters } from './hyperparameters.ts';
import { bagInferenceModel } from './inference.ts';
import { type BagParameters, bagLogits, batchRowsOf, initialParameters, parameterSpecs, tableRowsOf } from './model.ts';
import { hashTexts, type RowCache } from './rows.ts';
import { HEAD, TAGGING_TABLE, taggingFeatures, taggingParameters, taggingStart, tokenRows } from './tagging.ts';
import { renumbered, usedRows, wholeTable } from './used-rows.ts';

/** A split's texts, hashed. */
type Texts = {
  readonly texts: readonly string[];
  readonly cache: RowCache;
  readonly bytes: readonly number[];
  readonly buckets: Uint8Array;
};

/** What is the same for all texts of a training. */
type Bag = {
  readonly settings: BagHyperparameters;
  readonly layout: Layout;
  /** Bytes that texts are padded to where bytes are tagged; a sum of rows needs no padding. */
  readonly lengths: readonly number[];
  /** Rows of the table that train texts use. */
  readonly used: Uint32Array;
};

/** Texts by which of the lengths their bytes fit into; one that is longer than all of them is cut. */
const bucketsOf = (bytes: readonly number[], lengths: readonly number[]): Uint8Array =>
  Uint8Array.from(bytes, (count) => {
    const bucket = lengths.findIndex((length) => count <= length);
    return bucket < 0 ? Math.max(0, lengths.length - 1) : bucket;
  });

function splitOf({ settings, lengths, used }: Bag, texts: readonly string[], cache: RowCache): Texts {
  const bytes = texts.map(byteTokenizer.count);
  return { texts, cache: renumbered(cache, used, settings.rows), bytes, buckets: bucketsOf(bytes, lengths) };
}

/** Texts as inputs of a step: the rows of each text, and with span heads those around each of its bytes. */
function encoded({ settings, layout, lengths, used }: Bag, given: Texts, batch: BatchShape): EncodedTexts {
  const { texts, cache, bytes, buckets } = given;
  const { batchTexts } = settings;
  const rowsOf = encodedRows(cache, batch, tableRowsOf({ usedRows: used.length }));
  if (layout.tokenWidth === 0) return { buckets, features: rowsOf };
  const ids = texts.map(byteTokenizer.encode);
  const { features: bytesOf } = encodedSequences(ids, { batchTexts, lengths, padId: PAD_ID });
  return {
    buckets,
    features: (indices, bucket) => ({
      ...(layout.textWidth > 0 && rowsOf(indices)),
      token_mask: bytesOf(indices, bucket).token_mask!,
      token_rows: tokenRows(cache, bytes, indices, {
        texts: batchTexts,
        length: lengths[bucket] as number,
        none: used.length,
      }),
    }),
    tokens: { lengths, offsets: offsetsOf(texts, byteTokenizer) },
  };
}

/** The forward pass of a step, for batches of a bucket. */
function logitsOf(
  { settings, layout, lengths }: Bag,
  batch: BatchShape,
  graph: Graph,
  parameters: Parameters,
  bucket: number,
  clock: Clock | undefined,
): HeadLogits {
  const { batchTexts } = settings;
  const tokens = () => taggingFeatures(graph, parameters, [batchTexts, lengths[bucket] as number], clock?.mask);
  return {
    ...(layout.textWidth > 0 &&
      bagLogits(graph, parameters as Record<keyof BagParameters, Value>, batch, settings, clock)),
    ...linearHeads(graph, HEAD, { ...layout, textWidth: 0 }, { tokens }, parameters),
  };
}

function finish({ settings, layout, used }: Bag, values: ParameterValues): FinishedStudent {
  const tableRows = tableRowsOf({ usedRows: used.length });
  const whole = Object.entries(values).map(([name, value]) => {
    if (name !== 'table' && name !== TAGGING_TABLE) return [name, value] as const;
    return [name, wholeTable(value, used, settings.rows, value.length / tableRows)] as const;
  });
  return {
    model: (precision) => bagInferenceModel(settings, layout, Object.fromEntries(whole), precision),
    tokenizer: byteTokenizerFiles(),
    config: {
      architectures: ['BertForSequenceClassification'],
      model_type: 'bert',
      vocab_size: PAD_ID + 1,
      pad_token_id: PAD_ID,
      max_position_embeddings: MAX_TEXT_BYTES,
    },
  };
}

/** Hashes the texts, and opens a bag of the n-grams that train texts have. */
export async function openBag(options: LearnerOptions, settings: BagHyperparameters): Promise<Learner> {
  const { layout, seed, threads } = options;
  const texts = { train: options.train.map(({ text }) => text), dev: options.dev.map(({ text }) => text) };
  const hashed = await hashTexts(texts.train, settings.rows, threads);
  const used = usedRows(hashed, settings.rows);
  const lengths = layout.tokenWidth > 0 ? bucketLengths(texts.train.map(byteTokenizer.count)) : [];
  const bag: Bag = { settings, layout, lengths, used };
  const train = splitOf(bag, texts.train, hashed);
  const dev = splitOf(bag, texts.dev, await hashTexts(texts.dev, settings.rows, threads));
  const tableRows = tableRowsOf({ usedRows: used.length });
  const buckets = { train: train.buckets, dev: dev.buckets };
  const batch = batchShapeFor(train.cache, dev.cache, settings, tableRows, seed, buckets);
  const trained = { usedRows: used.length, batchRows: batch.rows, labels: layout.textWidth };
  const tagging: LayerParameter[] =
    layout.tokenWidth > 0 ? taggingParameters(layout, tableRows, batchRowsOf(trained)) : [];
  return {
    settings,
    parameters: [...(layout.textWidth > 0 ? parameterSpecs(settings, trained) : []), ...tagging],
    initial: {
      ...(layout.textWidth > 0 && initialParameters(settings, trained, seed)),
      ...taggingStart(tagging, seed),
    },
    buckets: Math.max(1, lengths.length),
    logits: (graph, parameters, bucket, clock) => logitsOf(bag, batch, graph, parameters, bucket, clock),
    train: encoded(bag, train, batch),
    dev: encoded(bag, dev, batch),
    finish: (values) => finish(bag, values),
  };
}
