import {
  type EncoderShape,
  embeddingParameters,
  embedTokens,
  encoderLayer,
  encoderLayerParameters,
  keyMask,
  meanPool,
} from '@understudy/graph';
import { type Architecture, positionsOf, type SequenceSettings } from './learner.ts';

/** How a `transformer` student is shaped and trained. */
export type TransformerHyperparameters = SequenceSettings & {
  readonly layers: number;
  /** Numbers of a token's state; a multiple of `heads`. */
  readonly width: number;
  readonly heads: number;
  /** Numbers between the two halves of a layer's feed-forward network. */
  readonly feedForward: number;
};

const MIN_STEPS = 1_000;
const [MIN_EPOCHS, MAX_EPOCHS] = [15, 80];

/** Settings for a number of train examples; DESIGN.md has the figures. */
export function transformerDefaults(trainExamples: number): TransformerHyperparameters {
  const batchTexts = 32;
  const epochs = Math.min(MAX_EPOCHS, Math.max(MIN_EPOCHS, Math.ceil((MIN_STEPS * batchTexts) / trainExamples)));
  return {
    vocabulary: 8_000,
    maxTokens: 256,
    layers: 2,
    width: 128,
    heads: 4,
    feedForward: 256,
    batchTexts,
    epochs,
    patienceEpochs: Math.ceil(epochs / 2),
    learningRate: 1e-3,
    warmupShare: 0.1,
    dropout: 0.1,
    tokenDropout: 0.1,
    labelSmoothing: 0.1,
    weightDecay: 0.01,
    clipNorm: 1,
  };
}

/** A small encoder (Vaswani et al. 2017), and the mean of its last states over a text. */
export function transformerArchitecture(settings: TransformerHyperparameters): Architecture {
  const { layers, width, maxTokens } = settings;
  const shape: EncoderShape = { width, heads: settings.heads, feedForward: settings.feedForward };
  const names = Array.from({ length: layers }, (_, i) => `layer${i + 1}`);
  return {
    name: 'transformer',
    parameters: (vocabulary) => [
      ...embeddingParameters('embeddings', vocabulary, maxTokens, width),
      ...names.flatMap((name) => encoderLayerParameters(name, shape)),
    ],
    tokenParameters: [],
    features: width,
    tokenFeatures: width,
    emit: (graph, tokens, mask, parameters, dropped) => {
      const positions = positionsOf(graph, mask, maxTokens);
      const embedded = embedTokens(graph, tokens, positions, parameters, 'embeddings', dropped);
      const keys = keyMask(graph, mask);
      const states = names.reduce(
        (states, name) => encoderLayer(graph, states, parameters, name, shape, keys, dropped),
        embedded,
      );
      return { texts: meanPool(graph, states, mask), tokens: () => states };
    },
  };
}
