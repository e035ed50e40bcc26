/** The three trainings that `npm run bench train` times: models, batches and first states, the same in every process. */
import {
  type Clock,
  elementCount,
  embeddingParameters,
  embedTokens,
  encoderLayer,
  encoderLayerParameters,
  type Graph,
  initialState,
  keyMask,
  type LayerParameter,
  linear,
  linearParameters,
  meanPool,
  type Parameters,
  softCrossEntropy,
  type TensorValue,
  type TrainingDefinition,
  type TrainingState,
  tensor,
  type Value,
  vectorOf,
} from '@understudy/graph';
import { bagDefaults } from '@understudy/student/bag/hyperparameters';
import { openBag } from '@understudy/student/bag/learner';
import { labelHead, layoutOf } from '@understudy/student/heads/layout';
import { seededUniform } from '@understudy/student/random';
import { definitionOf } from '@understudy/student/training';

export const SHAPES = ['bag', 'transformer', 'encoder'] as const;
export type Shape = (typeof SHAPES)[number];

const SEED = 20_261_123;
const CLASSES = 77;
/** Batches that steps take in turn. */
const BATCHES = 8;

type Batch = Readonly<Record<string, TensorValue>>;

export type BenchTraining = {
  readonly definition: TrainingDefinition;
  readonly state: TrainingState;
  readonly batches: readonly Batch[];
  readonly learningRate: number;
  /** Multiplications and additions of a step's matrix products: 2·m·n·k for each of the forward pass, and twice that backwards. */
  readonly flops: number;
  /** The same training as `train-pytorch.py` reads it. */
  readonly pytorch: Readonly<Record<string, unknown>>;
};

/** Numbers in [0, 1) that depend on a purpose alone. */
function uniforms(purpose: string, length: number): number[] {
  return Array.from(seededUniform(SEED, purpose, length, 0.5), (value) => value + 0.5);
}

/** Ranks below `count` that occur as often as words of a text do: rank r about 1/(r + 1) as often as the first. */
const zipf = (purpose: string, length: number, count: number): number[] =>
  uniforms(purpose, length).map((u) => Math.min(Math.floor((count + 1) ** u) - 1, count - 1));

const oneHot = (labels: readonly number[]): TensorValue => {
  const targets = new Float32Array(labels.length * CLASSES);
  for (const [row, label] of labels.entries()) targets[row * CLASSES + label] = 1;
  return tensor('float32', [labels.length, CLASSES], targets);
};

const labelsOf = (purpose: string, count: number): number[] =>
  uniforms(purpose, count).map((u) => Math.floor(u * CLASSES));

const BAG = { rows: 16_384, width: 64, texts: 64 };
/** Enough texts for nearly all rows of the table to be used by one. */
const BAG_TEXTS = 4_096;
const WORDS = 6_000;
const WORDS_PER_TEXT = 9;

/** Texts of made-up words with the frequencies and lengths of short requests: some 60 characters each. */
function texts(): string[] {
  const letters = uniforms('letters', WORDS * 9).map((u) => String.fromCharCode(97 + Math.floor(u * 26)));
  const lengths = uniforms('lengths', WORDS).map((u) => 2 + Math.floor(u * 8));
  const words = lengths.map((length, i) => letters.slice(9 * i, 9 * i + length).join(''));
  const drawn = zipf('words', BAG_TEXTS * WORDS_PER_TEXT, WORDS);
  return Array.from({ length: BAG_TEXTS }, (_, i) =>
    drawn
      .slice(i * WORDS_PER_TEXT, (i + 1) * WORDS_PER_TEXT)
      .map((word) => words[word])
      .join(' '),
  );
}

/** The bag student's own training step, on batches of its own. */
async function bag(threads: number): Promise<BenchTraining> {
  const labels = labelsOf('bag', BAG_TEXTS);
  const examples = texts().map((text, i) => ({
    text,
    target: [{ value: { kind: 'choice' as const, index: labels[i] as number } }],
    weight: 1,
  }));
  const { rows, width, texts: batchTexts } = BAG;
  // One pass a step, as in the PyTorch model.
  const settings = { ...bagDefaults(CLASSES, BAG_TEXTS), rows, width, batchTexts, consistency: 0 };
  const names = Array.from({ length: CLASSES }, (_, i) => `label ${i}`);
  const layout = layoutOf([labelHead('label', names)]);
  const options = { layout, train: examples, dev: examples.slice(0, BAG.texts), seed: SEED, threads };
  const learner = await openBag(options, settings);
  const weights = tensor('float32', [BAG.texts], new Float32Array(BAG.texts).fill(1));
  const batches: Batch[] = [];
  const plain = { rows: [] as number[][], lengths: [] as number[][], labels: [] as number[][] };
  for (let batch = 0; batch < BATCHES; batch++) {
    const indices = Array.from({ length: BAG.texts }, (_, i) => batch * BAG.texts + i);
    const features = learner.train.features(indices, 0);
    const copies = Object.entries(features).map(([name, value]) => [name, { ...value, data: value.data.slice() }]);
    const chosen = indices.map((i) => labels[i] as number);
    batches.push({ ...Object.fromEntries(copies), targets: oneHot(chosen), example_weights: weights });
    const used = Array.from(features.ngram_weights?.data as Float32Array, (weight) => weight > 0);
    const slots = Array.from(features.slots?.data as Int32Array).filter((_, i) => used[i]);
    plain.rows.push(Array.from(features.rows?.data as Int32Array).filter((_, i) => used[i]));
    plain.lengths.push(indices.map((_, slot) => slots.filter((at) => at === slot).length));
    plain.labels.push(chosen);
  }
  const ngrams = plain.rows.reduce((sum, rows) => sum + rows.length, 0) / BATCHES;
  return {
    definition: definitionOf(learner, layout),
    state: initialState(learner.initial),
    batches,
    learningRate: settings.learningRate,
    flops: 3 * 2 * BAG.width * (ngrams + BAG.texts * CLASSES),
    pytorch: {
      open: 'bag',
      rows: learner.parameters[0]?.dims[0],
      width: BAG.width,
      classes: CLASSES,
      dropout: settings.dropout,
      label_smoothing: settings.labelSmoothing,
      learning_rate: settings.learningRate,
      batches: plain.rows,
      lengths: plain.lengths,
      labels: plain.labels,
    },
  };
}

type EncoderSizes = {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly feedForward: number;
  readonly vocabulary: number;
};

const TEXTS = 32;
const LENGTH = 32;
const POSITIONS = 512;
const DROPOUT = 0.1;
const LEARNING_RATE = 1e-4;

const layerNames = ({ layers }: EncoderSizes): string[] => Array.from({ length: layers }, (_, i) => `layer.${i}`);

function encoderParameters(sizes: EncoderSizes): LayerParameter[] {
  const [tokens, ...others] = embeddingParameters('embeddings', sizes.vocabulary, POSITIONS, sizes.width);
  return [
    { ...(tokens as LayerParameter), rows: { input: 'tokens', atMost: () => TEXTS * LENGTH } },
    ...others,
    ...layerNames(sizes).flatMap((name) => encoderLayerParameters(name, sizes)),
    ...linearParameters('head', sizes.width, CLASSES),
  ];
}

function encoderLoss(sizes: EncoderSizes, graph: Graph, parameters: Parameters, { mask }: Clock): Value {
  const tokens = graph.input('tokens', 'int64', [TEXTS, LENGTH]);
  const attentionMask = graph.input('attention_mask', 'float32', [TEXTS, LENGTH]);
  const places = graph.constant(vectorOf('int64', [...Array(LENGTH).keys()]));
  const dropped = { rate: DROPOUT, mask };
  let x = embedTokens(graph, tokens, places, parameters, 'embeddings', dropped);
  const keys = keyMask(graph, attentionMask);
  for (const name of layerNames(sizes)) x = encoderLayer(graph, x, parameters, name, sizes, keys, dropped);
  const logits = linear(graph, meanPool(graph, x, attentionMask), parameters, 'head');
  const weights = graph.input('weights', 'float32', [TEXTS]);
  return softCrossEntropy(graph, logits, graph.input('targets', 'float32', [TEXTS, CLASSES]), weights, 0);
}

function encoderFlops({ layers, width, feedForward }: EncoderSizes): number {
  const tokens = TEXTS * LENGTH;
  const linears = 2 * tokens * width * (4 * width + 2 * feedForward);
  const attention = 2 * 2 * tokens * LENGTH * width;
  return 3 * (layers * (linears + attention) + 2 * tokens * width + 2 * TEXTS * width * CLASSES);
}

function encoder(sizes: EncoderSizes): BenchTraining {
  const parameters = encoderParameters(sizes);
  const initial = parameters.map(({ name, dims, start }) => {
    const count = elementCount(dims);
    const values =
      'constant' in start
        ? new Float32Array(count).fill(start.constant)
        : seededUniform(SEED, name, count, start.bound);
    return [name, values] as const;
  });
  const tokens = Array.from({ length: BATCHES }, (_, i) => zipf(`tokens ${i}`, TEXTS * LENGTH, sizes.vocabulary));
  const labels = Array.from({ length: BATCHES }, (_, i) => labelsOf(`labels ${i}`, TEXTS));
  const ones = (dims: readonly number[]): TensorValue =>
    tensor('float32', dims, new Float32Array(elementCount(dims)).fill(1));
  return {
    definition: {
      name: 'encoder',
      parameters,
      adamW: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
      loss: (graph, values, clock) => encoderLoss(sizes, graph, values, clock),
    },
    state: initialState(Object.fromEntries(initial)),
    batches: tokens.map((ids, i) => ({
      tokens: vectorOf('int64', ids, [TEXTS, LENGTH]),
      attention_mask: ones([TEXTS, LENGTH]),
      weights: ones([TEXTS]),
      targets: oneHot(labels[i] as number[]),
    })),
    learningRate: LEARNING_RATE,
    flops: encoderFlops(sizes),
    pytorch: {
      open: 'encoder',
      layers: sizes.layers,
      width: sizes.width,
      heads: sizes.heads,
      feed_forward: sizes.feedForward,
      vocabulary: sizes.vocabulary,
      positions: POSITIONS,
      classes: CLASSES,
      dropout: DROPOUT,
      label_smoothing: 0,
      learning_rate: LEARNING_RATE,
      batches: tokens,
      lengths: tokens.map(() => Array(TEXTS).fill(LENGTH)),
      labels,
    },
  };
}

const TRANSFORMER: EncoderSizes = { layers: 2, width: 128, heads: 4, feedForward: 512, vocabulary: 8_000 };
/** MiniLM-L6: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2, config.json. */
const MINILM: EncoderSizes = { layers: 6, width: 384, heads: 12, feedForward: 1_536, vocabulary: 30_522 };

/** Builds a shape's training. @param threads of the hashing that a bag begins with. */
export async function benchTraining(shape: Shape, threads: number): Promise<BenchTraining> {
  if (shape === 'bag') return await bag(threads);
  return encoder(shape === 'encoder' ? MINILM : TRANSFORMER);
}

export const SHAPE_TITLES: Readonly<Record<Shape, string>> = {
  bag: 'bag, 16,384 × 64, batch 64',
  transformer: 'transformer, 2 × 128, 8,000 tokens, batch 32 × 32',
  encoder: 'encoder, 6 × 384, 30,522 tokens, batch 32 × 32',
};
