import {
  cast,
  type Dropout,
  dropout,
  Graph,
  ints,
  type LayerParameter,
  type Parameters,
  tensor,
  type Value,
} from '@understudy/graph';
import type { Layout } from '../heads/layout.ts';
import { type Features, headParameters, linearHeads } from '../heads/linear.ts';
import { putOutputs } from '../heads/outputs.ts';
import type { EncodedTexts, Learner, LearnerOptions, LoopSettings, ParameterValues } from '../learner.ts';
import { offsetsOf } from '../offsets.ts';
import { modelAt } from '../precision.ts';
import { loadTokenizer } from '../tokenizer.ts';
import { bucketLengths, encodedSequences } from './batches.ts';
import { keptTokens, startValues } from './start.ts';
import { learnVocabulary } from './vocabulary.ts';

/** Settings of students that read tokens of a learned vocabulary. */
export type SequenceSettings = LoopSettings & {
  /** Tokens of the vocabulary, at most. */
  readonly vocabulary: number;
  /** Tokens of a text that are read; the rest is cut. */
  readonly maxTokens: number;
  /** Share of features that each step leaves out, in [0, 1). */
  readonly dropout: number;
  /** Share of tokens that each step leaves out, in [0, 1). */
  readonly tokenDropout: number;
};

/** What lies between tokens and the head. */
export type Architecture = {
  readonly name: string;
  /** @param vocabulary how many tokens there are. */
  readonly parameters: (vocabulary: number) => LayerParameter[];
  /** What there is more where tokens are tagged. */
  readonly tokenParameters: readonly LayerParameter[];
  /** How many features a text has in the end. */
  readonly features: number;
  /** How many each of its tokens has. */
  readonly tokenFeatures: number;
  /**
   * Emits features of tokens [batch, length], of which `mask`, float32 of the same shape, is 1 where
   * there is one; batch and length static or not.
   */
  readonly emit: (
    graph: Graph,
    tokens: Value,
    mask: Value,
    parameters: Parameters,
    dropped: Dropout | undefined,
  ) => Features;
};

const HEAD = 'head';

/** The whole student with dynamic batch and sequence. */
function inferenceGraph(
  architecture: Architecture,
  parameters: readonly LayerParameter[],
  values: ParameterValues,
  layout: Layout,
): Graph {
  const graph = new Graph(architecture.name);
  const tokens = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = graph.input('attention_mask', 'int64', ['batch', 'sequence']);
  const constants = Object.fromEntries(
    parameters.map(({ name, dims }) => [
      name,
      graph.constant(tensor('float32', dims, values[name] as Float32Array), name),
    ]),
  );
  const features = architecture.emit(graph, tokens, cast(graph, mask, 'float32'), constants, undefined);
  putOutputs(graph, layout, linearHeads(graph, HEAD, layout, features, constants));
  return graph;
}

/** Learns a vocabulary, encodes the texts with it, and opens an architecture on top of it. */
export function openSequences(
  { train, dev, layout, seed }: LearnerOptions,
  settings: SequenceSettings & Readonly<Record<string, number>>,
  architecture: Architecture,
): Learner {
  const { batchTexts, maxTokens } = settings;
  const texts = train.map(({ text }) => text);
  const devTexts = dev.map(({ text }) => text);
  const vocabulary = learnVocabulary(texts, settings.vocabulary, maxTokens);
  const tokenizer = loadTokenizer(vocabulary.files);
  const encoded = texts.map(tokenizer.encode);
  const lengths = bucketLengths(encoded.map(({ length }) => length));
  const shape = { batchTexts, lengths, padId: tokenizer.padId };
  const sequences = (ids: readonly ArrayLike<number>[], of: readonly string[]): EncodedTexts => ({
    ...encodedSequences(ids, shape),
    ...(layout.tokenWidth > 0 && { tokens: { lengths, offsets: offsetsOf(of, tokenizer) } }),
  });
  const parameters = [
    ...architecture.parameters(vocabulary.size),
    ...(layout.tokenWidth > 0 ? architecture.tokenParameters : []),
    ...headParameters(HEAD, layout, { texts: architecture.features, tokens: architecture.tokenFeatures }),
  ];
  return {
    settings,
    parameters,
    initial: startValues(parameters, seed),
    buckets: lengths.length,
    logits: (graph, values, bucket, clock) => {
      const dims = [batchTexts, lengths[bucket] as number];
      const drop = (rate: number): Dropout | undefined => clock && { rate, mask: clock.mask };
      const tokens = graph.input('tokens', 'int32', dims);
      const mask = keptTokens(graph, graph.input('token_mask', 'float32', dims), drop(settings.tokenDropout));
      const features = architecture.emit(graph, tokens, mask, values, drop(settings.dropout));
      const dropped = {
        texts: dropout(graph, features.texts, 'features', drop(settings.dropout)),
        tokens: () => dropout(graph, features.tokens(), 'token_features', drop(settings.dropout)),
      };
      return linearHeads(graph, HEAD, layout, dropped, values);
    },
    train: sequences(encoded, texts),
    dev: sequences(devTexts.map(tokenizer.encode), devTexts),
    finish: (values) => ({
      model: (precision) => modelAt(inferenceGraph(architecture, parameters, values, layout), parameters, precision),
      tokenizer: vocabulary.files,
      config: {
        architectures: ['BertForSequenceClassification'],
        model_type: 'bert',
        vocab_size: vocabulary.size,
        pad_token_id: tokenizer.padId,
        max_position_embeddings: maxTokens,
      },
    }),
  };
}

/** Which token of its text each one is, from 0, int64 [batch, length]; of padding, the last one's. At most `limit` − 1. */
export function positionsOf(graph: Graph, mask: Value, limit: number): Value {
  const counted = graph.node('CumSum', [mask, graph.constant(tensor('int64', [], BigInt64Array.of(1n)))]);
  const places = graph.node('Clip', [
    counted,
    graph.constant(tensor('float32', [], Float32Array.of(1))),
    graph.constant(tensor('float32', [], Float32Array.of(limit))),
  ]);
  return graph.node('Sub', [cast(graph, places, 'int64'), graph.constant(tensor('int64', [], BigInt64Array.of(1n)))]);
}

/** A mask [batch, length] as [batch, 1, length], or with its new axis wherever `axis` says. */
export const maskAlong = (graph: Graph, mask: Value, axis: 1 | 2): Value =>
  graph.node('Unsqueeze', [mask, ints(graph, [axis])]);
