import { ints, type LayerParameter, type Value } from '@understudy/graph';
import { type Architecture, maskAlong, type SequenceSettings } from './learner.ts';

/** How a `conv` student is shaped and trained. */
export type ConvHyperparameters = SequenceSettings & {
  /** Numbers of a token's embedding. */
  readonly width: number;
  /** Filters of each width. */
  readonly filters: number;
  /** Convolutions read 1, 2, … up to so many tokens. */
  readonly widest: number;
};

/** Tokens on either side of one that its tags depend on, beside what the convolutions below have read. */
const TAGGING_REACH = 2;
const TAGGING_WIDTH = 2 * TAGGING_REACH + 1;

const MIN_STEPS = 600;
const [MIN_EPOCHS, MAX_EPOCHS] = [12, 60];

/** Settings for a number of train examples; DESIGN.md has the figures. */
export function convDefaults(trainExamples: number): ConvHyperparameters {
  const batchTexts = 32;
  const epochs = Math.min(MAX_EPOCHS, Math.max(MIN_EPOCHS, Math.ceil((MIN_STEPS * batchTexts) / trainExamples)));
  return {
    vocabulary: 8_000,
    maxTokens: 256,
    width: 128,
    filters: 192,
    widest: 3,
    batchTexts,
    epochs,
    patienceEpochs: Math.ceil(epochs / 2),
    learningRate: 1.5e-3,
    warmupShare: 0.05,
    dropout: 0.3,
    tokenDropout: 0.1,
    labelSmoothing: 0.1,
    weightDecay: 0.01,
    clipNorm: 1,
  };
}

/** Embeddings, convolutions of several widths, the largest value of each filter over a text (Kim 2014, arXiv 1408.5882). */
export function convArchitecture({ width, filters, widest }: ConvHyperparameters): Architecture {
  const widths = Array.from({ length: widest }, (_, i) => i + 1);
  const layer = (size: number): LayerParameter[] => [
    {
      name: `conv${size}.weight`,
      dims: [filters, width, size],
      decay: true,
      start: { bound: Math.sqrt(6 / (width * size + filters)) },
    },
    { name: `conv${size}.bias`, dims: [filters], decay: false, start: { constant: 0 } },
  ];
  return {
    name: 'conv',
    parameters: (vocabulary) => [
      { name: 'embeddings', dims: [vocabulary, width], decay: false, start: { bound: 0.25 } },
      ...widths.flatMap(layer),
    ],
    tokenParameters: [
      {
        name: 'tagging.weight',
        dims: [filters, widest * filters, TAGGING_WIDTH],
        decay: true,
        start: { bound: Math.sqrt(6 / (widest * filters * TAGGING_WIDTH + filters)) },
      },
      { name: 'tagging.bias', dims: [filters], decay: false, start: { constant: 0 } },
    ],
    features: widest * filters,
    tokenFeatures: filters,
    emit: (graph, tokens, mask, parameters) => {
      const rows = graph.node('Gather', [parameters.embeddings!, tokens]);
      // Padding becomes zero, as what a convolution sees beyond the ends is: a text means the same in any batch.
      const kept = graph.node('Mul', [rows, maskAlong(graph, mask, 2)]);
      const channels = graph.node('Transpose', [kept], { perm: [0, 2, 1] });
      const maps: Value[] = [];
      const pooled = widths.map((size) => {
        const pads = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
        const inputs = [channels, parameters[`conv${size}.weight`]!, parameters[`conv${size}.bias`]!];
        const active = graph.node('Relu', [graph.node('Conv', inputs, { pads })]);
        const inside = graph.node('Mul', [active, maskAlong(graph, mask, 1)]);
        maps.push(inside);
        return graph.node('ReduceMax', [inside, ints(graph, [2])], { keepdims: 0 });
      });
      const tokenMaps = (): Value => {
        const all = graph.node('Concat', maps, { axis: 1 });
        const inputs = [all, parameters['tagging.weight']!, parameters['tagging.bias']!];
        const active = graph.node('Relu', [graph.node('Conv', inputs, { pads: [TAGGING_REACH, TAGGING_REACH] })]);
        return graph.node('Transpose', [active], { perm: [0, 2, 1] });
      };
      return { texts: graph.node('Concat', pooled, { axis: 1 }), tokens: tokenMaps };
    },
  };
}
