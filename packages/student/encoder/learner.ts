import {
  cast,
  type Dropout,
  dropout,
  Graph,
  linear,
  linearParameters,
  type ParameterSpec,
  type Parameters,
  type TensorValue,
  tensor,
} from '@understudy/graph';
import { TrainingError } from '../errors.ts';
import type { StudentTraining } from '../family.ts';
import type { EncodedTexts, FinishedStudent, Learner, ParameterValues, Pretrained } from '../learner.ts';
import { settingsOf } from '../learner.ts';
import { modelAt } from '../precision.ts';
import { bucketLengths, encodedSequences } from '../sequence/batches.ts';
import { keptTokens } from '../sequence/start.ts';
import { runTraining } from '../training.ts';
import { type EncoderFolder, readEncoderFolder } from './folder.ts';
import { constantsOf, frozenFeatures } from './frozen.ts';
import { features, HEAD } from './head.ts';
import {
  type FineTuningHyperparameters,
  fineTuningDefaults,
  type HeadHyperparameters,
  headDefaults,
} from './hyperparameters.ts';
import { importTrunk, type Trunk, type TrunkParameter } from './trunk.ts';

/** An encoder at work on one task. */
type Encoder = {
  readonly folder: EncoderFolder;
  readonly pretrained: Pretrained;
  readonly trunk: Trunk;
  readonly weights: ParameterValues;
  readonly labels: number;
};

/** The whole student with dynamic batch and sequence. */
function inferenceGraph({ folder, trunk, weights, labels }: Encoder, trained: ParameterValues, output: string): Graph {
  const graph = new Graph('encoder');
  const ids = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = cast(graph, graph.input('attention_mask', 'int64', ['batch', 'sequence']), 'float32');
  const states = trunk.emit(graph, ids, mask, constantsOf(graph, trunk, { ...weights, ...trained }));
  const head = Object.fromEntries(
    linearParameters(HEAD, trunk.width, labels).map(({ name, dims }) => [
      name,
      graph.constant(tensor('float32', dims, trained[name] as Float32Array), name),
    ]),
  );
  const logits = linear(graph, features(graph, states, mask, folder.pooling), head, HEAD);
  graph.output('logits', logits);
  graph.output(output, logits);
  return graph;
}

/** `BertModel` as the classifier that it has become. */
const classifier = (architecture: string): string =>
  architecture.replace(/(Model|For\w+)$/, 'ForSequenceClassification');

function finish(encoder: Encoder, trained: ParameterValues): FinishedStudent {
  const { folder, pretrained, trunk, labels } = encoder;
  const { architectures } = folder.config;
  const parameters = [...trunk.parameters, ...linearParameters(HEAD, trunk.width, labels)];
  const names = Array.isArray(architectures) ? architectures.map((name) => classifier(String(name))) : undefined;
  return {
    model: (precision, output) => modelAt(inferenceGraph(encoder, trained, output), parameters, precision),
    tokenizer: folder.tokenizerFiles,
    config: { ...folder.config, ...(names && { architectures: names }) },
    pretrained,
  };
}

/** Features as inputs of a step: `features` float32 [batchTexts, width]. */
function encodedFeatures(rows: readonly Float32Array[], batchTexts: number, width: number): EncodedTexts {
  const values = new Float32Array(batchTexts * width);
  const batch = (indices: ArrayLike<number>): Record<string, TensorValue> => {
    values.fill(0);
    for (let slot = 0; slot < indices.length; slot++) {
      values.set(rows[indices[slot] as number] as Float32Array, slot * width);
    }
    return { features: tensor('float32', [batchTexts, width], values) };
  };
  return { buckets: new Uint8Array(rows.length), features: batch };
}

/** A head alone, on what the frozen encoder gives for each text. */
function headLearner(
  encoder: Encoder,
  train: readonly Float32Array[],
  dev: readonly Float32Array[],
  settings: HeadHyperparameters,
): Learner {
  const { width } = encoder.trunk;
  const parameters = linearParameters(HEAD, width, encoder.labels);
  return {
    settings,
    pretrained: encoder.pretrained,
    parameters,
    // The first steps then move each label's weights along the mean of its texts.
    initial: Object.fromEntries(
      parameters.map(({ name, dims }) => [name, new Float32Array(dims.reduce((product, dim) => product * dim, 1))]),
    ),
    buckets: 1,
    logits: (graph, values, _bucket, clock) => {
      const given = graph.input('features', 'float32', [settings.batchTexts, width]);
      const dropped = clock && { rate: settings.dropout, mask: clock.mask };
      return linear(graph, dropout(graph, given, 'features', dropped), values, HEAD);
    },
    train: encodedFeatures(train, settings.batchTexts, width),
    dev: encodedFeatures(dev, settings.batchTexts, width),
    finish: (trained) => finish(encoder, trained),
  };
}

/** The parameters that are trained: of lower layers more slowly, of the table of tokens only the rows that a batch uses. */
function trainedSpecs(
  { trunk, labels, pretrained }: Encoder,
  settings: FineTuningHyperparameters,
  rowsOf: (bucket: number) => number,
): ParameterSpec[] {
  const isTrained = ({ depth }: TrunkParameter): boolean =>
    pretrained.train === 'all' || depth >= 1 - settings.lastShare;
  const specs = trunk.parameters.filter(isTrained).map(
    ({ name, dims, depth }): ParameterSpec => ({
      name,
      dims,
      decay: dims.length > 1,
      rateFactor: settings.bottomFactor ** (1 - depth),
      ...(name === trunk.tokenTable && { rows: { input: 'tokens', atMost: rowsOf } }),
    }),
  );
  const head = linearParameters(HEAD, trunk.width, labels);
  return [...specs, ...head.map((spec) => ({ ...spec, rateFactor: settings.headFactor }))];
}

/** Encoder and head together, from a head that is trained already. */
function fineTuningLearner(
  encoder: Encoder,
  sized: readonly Trunk[],
  head: ParameterValues,
  texts: {
    readonly train: readonly number[][];
    readonly dev: readonly number[][];
    readonly lengths: readonly number[];
  },
  settings: FineTuningHyperparameters,
): Learner {
  const { folder, weights } = encoder;
  const { batchTexts } = settings;
  const { lengths } = texts;
  const parameters = trainedSpecs(encoder, settings, (bucket) => batchTexts * (lengths[bucket] as number));
  const shape = { batchTexts, lengths, padId: folder.tokenizer.padId };
  return {
    settings,
    pretrained: encoder.pretrained,
    parameters,
    initial: Object.fromEntries(parameters.map(({ name }) => [name, head[name] ?? (weights[name] as Float32Array)])),
    buckets: lengths.length,
    logits: (graph, values, bucket, clock) => {
      const trunk = sized[bucket] as Trunk;
      const frozen = { ...trunk, parameters: trunk.parameters.filter(({ name }) => !values[name]) };
      const all: Parameters = { ...constantsOf(graph, frozen, weights), ...values };
      const dims = [batchTexts, lengths[bucket] as number];
      const drop = (rate: number): Dropout | undefined => clock && { rate, mask: clock.mask };
      const tokens = graph.input('tokens', 'int32', dims);
      const mask = keptTokens(graph, graph.input('token_mask', 'float32', dims), drop(settings.tokenDropout));
      const vector = features(graph, trunk.emit(graph, tokens, mask, all), mask, folder.pooling);
      return linear(graph, dropout(graph, vector, 'features', drop(settings.dropout)), all, HEAD);
    },
    train: encodedSequences(texts.train, shape),
    dev: encodedSequences(texts.dev, shape),
    finish: (trained) => finish(encoder, trained),
  };
}

/**
 * Opens a published encoder for a task. Its head is trained first, on what the frozen encoder gives for each text; where
 * more is to be trained, everything then goes on from there (Kumar et al. 2022, arXiv 2202.10054), so that a head that
 * knows nothing yet does not wash out what the encoder knows.
 * @throws TrainingError `bad-encoder` naming the file and what is wrong with it.
 */
export async function openEncoder(options: StudentTraining): Promise<Learner> {
  const { candidate, train, dev, labels, threads, signal, cacheFolder } = options;
  const source = candidate.encoder;
  if (!source) throw new TrainingError('bad-settings', 'an encoder candidate names the folder of its encoder');
  const folder = await readEncoderFolder(source.folder);
  const [trainIds, devIds] = [train, dev].map((examples) =>
    examples.map(({ text }) => Array.from(folder.tokenizer.encode(text))),
  ) as [number[][], number[][]];
  const isHead = source.train === 'heads';
  const tuning = settingsOf(fineTuningDefaults(train.length), isHead ? {} : candidate.hyperparameters);
  const cut = (ids: number[]): number => Math.min(ids.length, tuning.maxTokens);
  const lengths = isHead ? [] : bucketLengths(trainIds.map(cut));
  const sizes = lengths.map((length) => ({ batch: tuning.batchTexts, length }));
  const { any: trunk, sized, weights } = await importing(source.folder, importTrunk(folder.model, sizes));
  const pretrained = { digest: folder.digest, train: source.train };
  const encoder = { folder, pretrained, trunk, weights, labels: labels.length };
  const frozen = await frozenFeatures(folder, trunk, weights, [...trainIds, ...devIds], {
    threads,
    signal,
    cacheFolder,
  });
  const settings = settingsOf(headDefaults(train.length), isHead ? candidate.hyperparameters : {});
  const head = headLearner(encoder, frozen.slice(0, train.length), frozen.slice(train.length), settings);
  if (isHead) return head;
  const { parameters } = await runTraining({ ...options, checkpoints: undefined, onProgress: undefined }, head, 'head');
  return fineTuningLearner(encoder, sized, parameters, { train: trainIds, dev: devIds, lengths }, tuning);
}

async function importing<T>(folder: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new TrainingError('bad-encoder', `the encoder in ${folder} cannot be used: ${message}`, { cause });
  }
}
