import {
  cast,
  type Dropout,
  dropout,
  Graph,
  type LayerParameter,
  type ParameterSpec,
  type Parameters,
  type TensorValue,
  tensor,
} from '@understudy/graph';
import { TrainingError } from '../errors.ts';
import type { StudentTraining } from '../family.ts';
import type { Layout } from '../heads/layout.ts';
import { headParameters, linearHeads } from '../heads/linear.ts';
import { putOutputs } from '../heads/outputs.ts';
import type { EncodedTexts, FinishedStudent, Learner, ParameterValues, Pretrained } from '../learner.ts';
import { settingsOf } from '../learner.ts';
import { offsetsOf, type TokenOffsets } from '../offsets.ts';
import { modelAt } from '../precision.ts';
import { bucketLengths, encodedSequences } from '../sequence/batches.ts';
import { keptTokens } from '../sequence/start.ts';
import { runTraining } from '../training.ts';
import { type EncoderFolder, readEncoderFolder } from './folder.ts';
import { constantsOf, frozenFeatures, frozenStates } from './frozen.ts';
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
  readonly layout: Layout;
};

const headsOf = ({ layout, trunk: { width } }: Encoder): LayerParameter[] =>
  headParameters(HEAD, layout, { texts: width, tokens: width });

/** The whole student with dynamic batch and sequence. */
function inferenceGraph(encoder: Encoder, trained: ParameterValues): Graph {
  const { folder, trunk, weights, layout } = encoder;
  const graph = new Graph('encoder');
  const ids = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = cast(graph, graph.input('attention_mask', 'int64', ['batch', 'sequence']), 'float32');
  const states = trunk.emit(graph, ids, mask, constantsOf(graph, trunk, { ...weights, ...trained }));
  const head = Object.fromEntries(
    headsOf(encoder).map(({ name, dims }) => [
      name,
      graph.constant(tensor('float32', dims, trained[name] as Float32Array), name),
    ]),
  );
  putOutputs(graph, layout, linearHeads(graph, HEAD, layout, features(graph, states, mask, folder.pooling), head));
  return graph;
}

/** `BertModel` as the classifier that it has become. */
const classifier = (architecture: string): string =>
  architecture.replace(/(Model|For\w+)$/, 'ForSequenceClassification');

function finish(encoder: Encoder, trained: ParameterValues): FinishedStudent {
  const { folder, pretrained, trunk } = encoder;
  const { architectures } = folder.config;
  const parameters = [...trunk.parameters, ...headsOf(encoder)];
  const names = Array.isArray(architectures) ? architectures.map((name) => classifier(String(name))) : undefined;
  return {
    model: (precision) => modelAt(inferenceGraph(encoder, trained), parameters, precision),
    tokenizer: folder.tokenizerFiles,
    config: { ...folder.config, ...(names && { architectures: names }) },
    pretrained,
  };
}

/** What a frozen encoder gave for the texts of a split. */
type FrozenTexts = {
  readonly features: readonly Float32Array[];
  /** With span heads: of the tokens of each text, and where these lie. */
  readonly states?: readonly Float32Array[];
  readonly offsets: (index: number) => TokenOffsets;
};

/**
 * Features as inputs of a step: `features` float32 [batchTexts, width], and with span heads `states` float32 [batchTexts,
 * length, width] in buckets of lengths.
 */
function encodedFeatures(
  { features, states, offsets }: FrozenTexts,
  { batchTexts, lengths, width }: { batchTexts: number; lengths: readonly number[]; width: number },
): EncodedTexts {
  const values = new Float32Array(batchTexts * width);
  const longest = lengths.at(-1) ?? 0;
  const batch = (indices: ArrayLike<number>, bucket: number): Record<string, TensorValue> => {
    values.fill(0);
    const length = lengths[bucket] ?? 0;
    const tokens = new Float32Array(batchTexts * length * width);
    for (let slot = 0; slot < indices.length; slot++) {
      const index = indices[slot] as number;
      values.set(features[index] as Float32Array, slot * width);
      if (states) tokens.set((states[index] as Float32Array).subarray(0, length * width), slot * length * width);
    }
    return {
      features: tensor('float32', [batchTexts, width], values),
      ...(states && { states: tensor('float32', [batchTexts, length, width], tokens) }),
    };
  };
  if (!states) return { buckets: new Uint8Array(features.length), features: batch };
  const buckets = Uint8Array.from(states, (own) => {
    const count = Math.min(own.length / width, longest);
    return lengths.findIndex((length) => count <= length);
  });
  return { buckets, features: batch, tokens: { lengths, offsets } };
}

/** Heads alone, on what the frozen encoder gives for each text. */
function headLearner(encoder: Encoder, train: FrozenTexts, dev: FrozenTexts, settings: HeadHyperparameters): Learner {
  const { width } = encoder.trunk;
  const { batchTexts } = settings;
  const lengths = bucketLengths((train.states ?? []).map((own) => own.length / width));
  const shape = { batchTexts, lengths: train.states ? lengths : [], width };
  const parameters = headsOf(encoder);
  return {
    settings,
    pretrained: encoder.pretrained,
    parameters,
    // The first steps then move each label's weights along the mean of its texts.
    initial: Object.fromEntries(
      parameters.map(({ name, dims }) => [name, new Float32Array(dims.reduce((product, dim) => product * dim, 1))]),
    ),
    buckets: train.states ? lengths.length : 1,
    logits: (graph, values, bucket, clock) => {
      const dropped = clock && { rate: settings.dropout, mask: clock.mask };
      const input = (name: string, dims: readonly number[]) =>
        dropout(graph, graph.input(name, 'float32', dims), name, dropped);
      return linearHeads(
        graph,
        HEAD,
        encoder.layout,
        {
          texts: input('features', [batchTexts, width]),
          tokens: () => input('states', [batchTexts, lengths[bucket] as number, width]),
        },
        values,
      );
    },
    train: encodedFeatures(train, shape),
    dev: encodedFeatures(dev, shape),
    finish: (trained) => finish(encoder, trained),
  };
}

/** The parameters that are trained: of lower layers more slowly, of the table of tokens only the rows that a batch uses. */
function trainedSpecs(
  encoder: Encoder,
  settings: FineTuningHyperparameters,
  rowsOf: (bucket: number) => number,
): ParameterSpec[] {
  const { trunk, pretrained } = encoder;
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
  return [...specs, ...headsOf(encoder).map((spec) => ({ ...spec, rateFactor: settings.headFactor }))];
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
    readonly offsets: Readonly<Record<'train' | 'dev', (index: number) => TokenOffsets>>;
  },
  settings: FineTuningHyperparameters,
): Learner {
  const { folder, weights, layout } = encoder;
  const { batchTexts } = settings;
  const { lengths } = texts;
  const parameters = trainedSpecs(encoder, settings, (bucket) => batchTexts * (lengths[bucket] as number));
  const shape = { batchTexts, lengths, padId: folder.tokenizer.padId };
  const sequences = (split: 'train' | 'dev'): EncodedTexts => ({
    ...encodedSequences(texts[split], shape),
    ...(layout.tokenWidth > 0 && { tokens: { lengths, offsets: texts.offsets[split] } }),
  });
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
      const vectors = features(graph, trunk.emit(graph, tokens, mask, all), mask, folder.pooling);
      const dropped = {
        texts: dropout(graph, vectors.texts, 'features', drop(settings.dropout)),
        tokens: () => dropout(graph, vectors.tokens(), 'states', drop(settings.dropout)),
      };
      return linearHeads(graph, HEAD, layout, dropped, all);
    },
    train: sequences('train'),
    dev: sequences('dev'),
    finish: (trained) => finish(encoder, trained),
  };
}

/**
 * Opens a published encoder for a task. Its head is trained first, on what the frozen encoder gives for each text; where
 * more is to be trained, everything then goes on from there (Kumar et al. 2022, arXiv 2202.10054), so that a head that
 * knows nothing yet does not wash out what the encoder knows.
 * @throws TrainingError `bad-encoder` naming the file and what is wrong with it.
 */
export async function openEncoder(options: StudentTraining & { readonly layout: Layout }): Promise<Learner> {
  const { candidate, train, dev, layout } = options;
  const source = candidate.encoder;
  if (!source) throw new TrainingError('bad-settings', 'an encoder candidate names the folder of its encoder');
  const folder = await readEncoderFolder(source.folder);
  const textsOf = (examples: typeof train): string[] => examples.map(({ text }) => text);
  const idsOf = (examples: typeof train): number[][] =>
    textsOf(examples).map((text) => Array.from(folder.tokenizer.encode(text)));
  const ids = { train: idsOf(train), dev: idsOf(dev) };
  const offsets = {
    train: offsetsOf(textsOf(train), folder.tokenizer),
    dev: offsetsOf(textsOf(dev), folder.tokenizer),
  };
  const isHead = source.train === 'heads';
  const tuning = settingsOf(fineTuningDefaults(train.length), isHead ? {} : candidate.hyperparameters);
  const cut = (ids: number[]): number => Math.min(ids.length, tuning.maxTokens);
  const rounded = isHead ? [] : bucketLengths(ids.train.map(cut));
  const lengths = [...new Set(rounded.map((length) => Math.min(length, folder.maxTokens)))];
  const sizes = lengths.map((length) => ({ batch: tuning.batchTexts, length }));
  const { any: trunk, sized, weights } = await importing(source.folder, importTrunk(folder.model, sizes));
  const pretrained = { digest: folder.digest, train: source.train };
  const encoder = { folder, pretrained, trunk, weights, layout };
  const both = [...ids.train, ...ids.dev];
  const features = await frozenFeatures(encoder, both, options);
  const states = layout.tokenWidth > 0 ? await frozenStates(encoder, both, options) : undefined;
  const frozen = (split: 'train' | 'dev', from: number, to?: number): FrozenTexts => ({
    features: features.slice(from, to),
    ...(states && { states: states.slice(from, to) }),
    offsets: offsets[split],
  });
  const settings = settingsOf(headDefaults(train.length), isHead ? candidate.hyperparameters : {});
  const head = headLearner(encoder, frozen('train', 0, train.length), frozen('dev', train.length), settings);
  if (isHead) return head;
  const { parameters } = await runTraining({ ...options, checkpoints: undefined, onProgress: undefined }, head, 'head');
  return fineTuningLearner(encoder, sized, parameters, { ...ids, lengths, offsets }, tuning);
}

async function importing<T>(folder: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new TrainingError('bad-encoder', `the encoder in ${folder} cannot be used: ${message}`, { cause });
  }
}
