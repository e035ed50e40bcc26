import { Graph, reduceSum, reshape, scalar, serialize, slice, tensor, type Value, vectorOf } from '@understudy/graph';

/** A weight by its name in the published model. @throws Error for a name that the model does not have. */
export type WeightSource = (name: string) => { readonly shape: readonly number[]; readonly data: Float32Array };

/** The encoder reads so many tokens of a text and no more; the published graph clips there too. */
export const MAX_TOKENS = 128;
export const EMBEDDING_SIZE = 512;

const HEADS = 4;
const TOKEN_SIZE = 256;
const LAYER_NORM_EPSILON = 1e-6;
const L2_EPSILON = 1e-12;

const PREPARED = 'module_apply_default/Encoder_en/KonaTransformer/Encode/';
const KERNELS = 'module/Encoder_en/KonaTransformer/Encode/';
const TANH_LAYER = 'module/Encoder_en/hidden_layers/tanh_layer_0/';

/**
 * Universal Sentence Encoder lite as an ONNX model for one text: inputs `tokens` and `positions` (int64, [n], n from 1 to
 * MAX_TOKENS), output `embedding` (float32, [1, 512], of length 1).
 *
 * The published graph (TensorFlow.js) pads a batch, masks it and scatters between the padded and the packed form around
 * each layer. For one text there is no padding, and what remains is a two-layer pre-norm transformer (Vaswani et al. 2017,
 * "Attention Is All You Need"; Cer et al. 2018, "Universal Sentence Encoder"), mean pooling and a tanh layer.
 */
export function encoderModel(weights: WeightSource): Uint8Array {
  const graph = new Graph('universal-sentence-encoder-lite');
  const layers = new Layers(graph, weights);
  const tokens = graph.input('tokens', 'int64', ['n']);
  const positions = graph.input('positions', 'int64', ['n']);

  const embedded = graph.node('Gather', [layers.weight('module/Embeddings_en'), tokens]);
  const timing = graph.node('Gather', [graph.constant(timingSignal(weights)), positions]);
  // The published graph adds the timing signal to the embeddings and the sum to the embeddings again.
  let hidden = graph.node('Add', [graph.node('Add', [embedded, embedded]), timing]);
  for (const layer of [0, 1]) hidden = layers.transformer(hidden, layer);

  const mean = graph.node('ReduceMean', [hidden, graph.constant(vectorOf('int64', [0]))], { keepdims: 1 });
  const projected = layers.dense(mean, `${TANH_LAYER}weights`, `${TANH_LAYER}bias`);
  graph.output('embedding', layers.unitLength(graph.node('Tanh', [projected])));
  return serialize(graph);
}

class Layers {
  readonly #graph: Graph;
  readonly #weights: WeightSource;

  constructor(graph: Graph, weights: WeightSource) {
    this.#graph = graph;
    this.#weights = weights;
  }

  /** A weight as a matrix: the published 1×1 convolution kernels have two leading dimensions of 1. */
  weight(name: string): Value {
    const { shape, data } = this.#weights(name);
    return this.#graph.constant(tensor('float32', shape.slice(-2), data), name);
  }

  dense(input: Value, kernel: string, bias: string): Value {
    return this.#graph.node('Gemm', [input, this.weight(kernel), this.weight(bias)]);
  }

  /** One pre-norm layer: self-attention, then a feed-forward block, each added to what came in. */
  transformer(input: Value, layer: number): Value {
    const prepared = `${PREPARED}Layer_${layer}/TransformerLayer/`;
    const inner = `${PREPARED}TransformerStack/Layer_${layer}/TransformerLayer/FFN/`;
    const attended = this.#attention(this.#layerNorm(input, prepared), layer);
    const attention = this.#graph.node('Add', [attended, this.#residual(input, prepared)]);

    const normed = this.#layerNorm(attention, `${prepared}FFN/`);
    const bias = (conv: string): string => `${prepared}FFN/${conv}/bias/ConcatPartitions/concat`;
    const wide = this.#graph.node('Relu', [this.dense(normed, `${inner}conv1/Tensordot/Reshape_1`, bias('conv1'))]);
    const narrow = this.dense(wide, `${inner}conv2/Tensordot/Reshape_1`, bias('conv2'));
    return this.#graph.node('Add', [narrow, attention]);
  }

  unitLength(input: Value): Value {
    const square = reduceSum(this.#graph, this.#graph.node('Mul', [input, input]), [1], 1);
    const bounded = this.#graph.node('Max', [square, this.#number(L2_EPSILON)]);
    return this.#graph.node('Div', [input, this.#graph.node('Sqrt', [bounded])]);
  }

  /** The first layer widens 256 to 512, so its residual goes through a matrix. */
  #residual(input: Value, prepared: string): Value {
    if (input.shape.at(-1) === EMBEDDING_SIZE) return input;
    const dense = `${prepared}dense/`;
    return this.dense(input, `${dense}kernel/ConcatPartitions/concat`, `${dense}bias/ConcatPartitions/concat`);
  }

  #attention(input: Value, layer: number): Value {
    const graph = this.#graph;
    const size = Number(input.shape.at(-1));
    const headSize = size / HEADS;
    const part = (name: string): [string, string] => [
      `${KERNELS}Layer_${layer}/TransformerLayer/MultiheadAttention/${name}/kernel/part_0`,
      `${PREPARED}Layer_${layer}/TransformerLayer/MultiheadAttention/${name}/bias/ConcatPartitions/concat`,
    ];
    const joint = this.dense(input, ...part('qkv_transform_single'));
    const heads = (index: number, perm: number[]): Value => {
      const own = slice(graph, joint, 1, index * size, (index + 1) * size);
      return graph.node('Transpose', [reshape(graph, own, [-1, HEADS, headSize])], { perm });
    };
    const query = graph.node('Mul', [heads(0, [1, 0, 2]), this.#number(headSize ** -0.5)]);
    const weights = graph.node('Softmax', [graph.node('MatMul', [query, heads(1, [1, 2, 0])])], { axis: -1 });
    const mixed = graph.node('MatMul', [weights, heads(2, [1, 0, 2])]);
    const combined = reshape(graph, graph.node('Transpose', [mixed], { perm: [1, 0, 2] }), [-1, size]);
    return this.dense(combined, ...part('output_transform_single'));
  }

  /** Spelled out; onnxruntime fuses the pattern into one kernel. */
  #layerNorm(input: Value, prefix: string): Value {
    const graph = this.#graph;
    const mean = (value: Value): Value =>
      graph.node('ReduceMean', [value, graph.constant(vectorOf('int64', [-1]))], { keepdims: 1 });
    const centred = graph.node('Sub', [input, mean(input)]);
    const variance = mean(graph.node('Pow', [centred, this.#number(2)]));
    const deviation = graph.node('Sqrt', [graph.node('Add', [variance, this.#number(LAYER_NORM_EPSILON)])]);
    const norm = `${prefix}layer_prepostprocess/layer_norm/layer_norm_`;
    const scaled = graph.node('Mul', [
      graph.node('Div', [centred, deviation]),
      this.weight(`${norm}scale/ConcatPartitions/concat`),
    ]);
    return graph.node('Add', [scaled, this.weight(`${norm}bias/ConcatPartitions/concat`)]);
  }

  #number(value: number): Value {
    return this.#graph.constant(scalar('float32', value));
  }
}

/** sin and cos of position / timescale (Vaswani et al. 2017, section 3.5), [MAX_TOKENS, TOKEN_SIZE]; float32 as published. */
function timingSignal(weights: WeightSource) {
  const inverse = weights(`${PREPARED}TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1`).data;
  const signal = new Float32Array(MAX_TOKENS * TOKEN_SIZE);
  for (let position = 0; position < MAX_TOKENS; position++) {
    const row = position * TOKEN_SIZE;
    inverse.forEach((frequency, index) => {
      const angle = Math.fround(position * frequency);
      signal[row + index] = Math.sin(angle);
      signal[row + inverse.length + index] = Math.cos(angle);
    });
  }
  return tensor('float32', [MAX_TOKENS, TOKEN_SIZE], signal);
}
