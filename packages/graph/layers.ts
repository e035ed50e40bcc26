import { cast, ints, reshape, scalarLike } from './emit.ts';
import type { Graph, Value } from './graph.ts';
import { elementCount } from './tensor.ts';
import type { MaskSource, ParameterSpec } from './training-step.ts';

/** How a parameter starts: every number the same, or uniform in ±bound. */
export type Start = { readonly constant: number } | { readonly bound: number };

/** A parameter of a layer, and how it starts where nothing pretrained is loaded into it. */
export type LayerParameter = ParameterSpec & { readonly start: Start };

/** Values by name: parameters of a training step, or constants of a finished model. */
export type Parameters = Readonly<Record<string, Value>>;

/** Dropout in training; a forward pass without it is built with `undefined`. */
export type Dropout = { readonly rate: number; readonly mask: MaskSource };

/** What one encoder layer measures. `width` is a multiple of `heads`. */
export type EncoderShape = { readonly width: number; readonly heads: number; readonly feedForward: number };

/** Added to the score of a key that is padding, before the softmax: e to it is 0 in float32. */
const PADDING_SCORE = -1e9;
const LAYER_NORM_EPSILON = 1e-12;

const named = (parameters: Parameters, name: string): Value => {
  const value = parameters[name];
  if (!value) throw new RangeError(`no parameter "${name}" among ${Object.keys(parameters).join(', ')}`);
  return value;
};

/** Uniform within ±√(6/(in + out)) (Glorot, Bengio 2010). */
export const linearParameters = (name: string, inputs: number, outputs: number): LayerParameter[] => [
  {
    name: `${name}.weight`,
    dims: [inputs, outputs],
    decay: true,
    start: { bound: Math.sqrt(6 / (inputs + outputs)) },
  },
  { name: `${name}.bias`, dims: [outputs], decay: false, start: { constant: 0 } },
];

export const layerNormParameters = (name: string, width: number): LayerParameter[] => [
  { name: `${name}.weight`, dims: [width], decay: false, start: { constant: 1 } },
  { name: `${name}.bias`, dims: [width], decay: false, start: { constant: 0 } },
];

/** x [..., in] · `<name>.weight` [in, out] + `<name>.bias` [out]. Where x is static, one Gemm over all of its rows. */
export function linear(graph: Graph, x: Value, parameters: Parameters, name: string): Value {
  const [weight, bias] = [named(parameters, `${name}.weight`), named(parameters, `${name}.bias`)];
  if (x.shape.length === 2) return graph.node('Gemm', [x, weight, bias]);
  const dims = x.shape;
  if (!dims.every((dim) => typeof dim === 'number')) {
    return graph.node('Add', [graph.node('MatMul', [x, weight]), bias]);
  }
  const rows = elementCount(dims.slice(0, -1));
  const product = graph.node('Gemm', [reshape(graph, x, [rows, dims.at(-1) as number]), weight, bias]);
  return reshape(graph, product, dims.with(-1, weight.shape[1] as number));
}

/** (x − mean)/√(variance + ε) over the last axis, times `<name>.weight`, plus `<name>.bias` (Ba et al. 2016). */
export const layerNorm = (graph: Graph, x: Value, parameters: Parameters, name: string): Value =>
  graph.node('LayerNormalization', [x, named(parameters, `${name}.weight`), named(parameters, `${name}.bias`)], {
    axis: -1,
    epsilon: { float: LAYER_NORM_EPSILON },
  });

/** x·Φ(x) (Hendrycks, Gimpel 2016). */
export const gelu = (graph: Graph, x: Value): Value => graph.node('Gelu', [x]);

/** x times a mask of its own, named `name`; x itself where there is no dropout. x must be static where there is. */
export function dropout(graph: Graph, x: Value, name: string, options: Dropout | undefined): Value {
  if (!options || options.rate === 0) return x;
  return graph.node('Mul', [x, options.mask(name, x.shape as readonly number[], options.rate)]);
}

/** What is added to attention scores [batch, heads, length, length], from a mask [batch, length] that is 0 for padding. */
export function keyMask(graph: Graph, attentionMask: Value): Value {
  const mask = cast(graph, attentionMask, 'float32');
  const padding = graph.node('Sub', [scalarLike(graph, mask, 1), mask]);
  const scores = graph.node('Mul', [padding, scalarLike(graph, mask, PADDING_SCORE)]);
  return graph.node('Unsqueeze', [scores, ints(graph, [1, 2])]);
}

/** The parameters of `attention`, all under `<name>.`. */
export const attentionParameters = (name: string, width: number): LayerParameter[] =>
  ['query', 'key', 'value', 'output'].flatMap((part) => linearParameters(`${name}.${part}`, width, width));

/**
 * Multi-head self-attention (Vaswani et al. 2017) of x [batch, length, width], batch and length static or not.
 * @param mask what `keyMask` gives.
 */
export function attention(
  graph: Graph,
  x: Value,
  parameters: Parameters,
  name: string,
  heads: number,
  mask: Value,
): Value {
  const width = x.shape[2] as number;
  const split = (part: string, perm: readonly number[]): Value => {
    const projected = linear(graph, x, parameters, `${name}.${part}`);
    return graph.node('Transpose', [reshape(graph, projected, [0, 0, heads, width / heads])], { perm });
  };
  const query = split('query', [0, 2, 1, 3]);
  const key = split('key', [0, 2, 3, 1]);
  const value = split('value', [0, 2, 1, 3]);
  const products = graph.node('MatMul', [query, key]);
  const scaled = graph.node('Mul', [products, scalarLike(graph, products, 1 / Math.sqrt(width / heads))]);
  const weights = graph.node('Softmax', [graph.node('Add', [scaled, mask])], { axis: -1 });
  const mixed = graph.node('Transpose', [graph.node('MatMul', [weights, value])], { perm: [0, 2, 1, 3] });
  return linear(graph, reshape(graph, mixed, [0, 0, width]), parameters, `${name}.output`);
}

/** The parameters of `encoderLayer`, all under `<name>.`. */
export const encoderLayerParameters = (name: string, { width, feedForward }: EncoderShape): LayerParameter[] => [
  ...attentionParameters(`${name}.attention`, width),
  ...layerNormParameters(`${name}.attention.norm`, width),
  ...linearParameters(`${name}.intermediate`, width, feedForward),
  ...linearParameters(`${name}.output`, feedForward, width),
  ...layerNormParameters(`${name}.norm`, width),
];

/**
 * One layer of a BERT-like encoder, normalised after each residual sum (Devlin et al. 2019): attention, then a feed-forward
 * network with GELU; dropout on what each adds.
 * @param x [batch, length, width].
 * @param mask what `keyMask` gives.
 */
export function encoderLayer(
  graph: Graph,
  x: Value,
  parameters: Parameters,
  name: string,
  shape: EncoderShape,
  mask: Value,
  dropped: Dropout | undefined,
): Value {
  const attended = attention(graph, x, parameters, `${name}.attention`, shape.heads, mask);
  const attendedDropped = dropout(graph, attended, `${name}.attention`, dropped);
  const middle = layerNorm(graph, graph.node('Add', [x, attendedDropped]), parameters, `${name}.attention.norm`);
  const hidden = gelu(graph, linear(graph, middle, parameters, `${name}.intermediate`));
  const added = dropout(graph, linear(graph, hidden, parameters, `${name}.output`), `${name}.output`, dropped);
  return layerNorm(graph, graph.node('Add', [middle, added]), parameters, `${name}.norm`);
}

/**
 * Rows of tables for tokens [batch, length]: `<name>.tokens` [vocabulary, width] by id plus `<name>.positions`
 * [positions, width] by place, normalised. `positions` are int64 [length] or [batch, length].
 */
export function embedTokens(
  graph: Graph,
  tokens: Value,
  positions: Value,
  parameters: Parameters,
  name: string,
  dropped: Dropout | undefined,
): Value {
  const rows = graph.node('Gather', [named(parameters, `${name}.tokens`), tokens]);
  const places = graph.node('Gather', [named(parameters, `${name}.positions`), positions]);
  const normalised = layerNorm(graph, graph.node('Add', [rows, places]), parameters, `${name}.norm`);
  return dropout(graph, normalised, name, dropped);
}

/** The parameters of `embedTokens`. Uniform with the deviation 0.02 of BERT's initialisation. */
export function embeddingParameters(
  name: string,
  vocabulary: number,
  positions: number,
  width: number,
): LayerParameter[] {
  const start = { bound: 0.02 * Math.sqrt(3) };
  return [
    { name: `${name}.tokens`, dims: [vocabulary, width], decay: false, start },
    { name: `${name}.positions`, dims: [positions, width], decay: false, start },
    ...layerNormParameters(`${name}.norm`, width),
  ];
}

/** Mean over the places of x [batch, length, width] that a mask [batch, length] keeps; 0 for a text without any. */
export function meanPool(graph: Graph, x: Value, attentionMask: Value): Value {
  const mask = graph.node('Unsqueeze', [cast(graph, attentionMask, 'float32'), ints(graph, [1])]);
  const count = graph.node('ReduceSum', [mask, ints(graph, [2])], { keepdims: 1 });
  const one = scalarLike(graph, mask, 1);
  const shares = graph.node('Div', [mask, graph.node('Max', [count, one])]);
  return reshape(graph, graph.node('MatMul', [shares, x]), [-1, x.shape[2] as number]);
}
