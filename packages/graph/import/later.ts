import { ints, scalarLike } from '../emit.ts';
import { GraphError } from '../errors.ts';
import type { Attributes, Graph, Value } from '../graph.ts';
import { inputOf, intAttribute } from '../operators/context.ts';
import type { FileNode } from './normalise.ts';

/** Added to a score, as onnxruntime does, to mask it: the lowest float32. */
const LOWEST = -3.4028234663852886e38;

function floatAttribute(attributes: Attributes, name: string, fallback: number): number {
  const value = attributes[name];
  return typeof value === 'object' && 'float' in value ? value.float : fallback;
}

function refuse(condition: boolean, what: string): void {
  if (condition) throw new GraphError(`${what} is not supported; export the model with operator set 20`);
}

/** The size of the last axis, which must be known. */
function widthOf(value: Value): number {
  const width = value.shape.at(-1);
  if (typeof width !== 'number') throw new GraphError(`"${value.name}" [${value.shape}] needs a static last dimension`);
  return width;
}

/** softmax(q·kᵀ·scale + mask)·v of q, k, v [batch, heads, length, width]. Set 23. */
export function attention(graph: Graph, node: FileNode): readonly Value[] {
  const { attributes, inputs, outputs } = node;
  const [query, key, value, mask] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2), inputs[3]];
  refuse(query.shape.length !== 4, 'Attention without an axis of heads');
  refuse(query.shape[1] !== key.shape[1], 'Attention with fewer heads of keys than of queries');
  refuse(inputs.slice(4).some(Boolean) || outputs.slice(1).some(Boolean), 'Attention with a cache');
  refuse(intAttribute(node, 'is_causal', 0) === 1, 'causal Attention');
  refuse(floatAttribute(attributes, 'softcap', 0) !== 0, 'Attention with a softcap');
  const scale = floatAttribute(attributes, 'scale', 1 / Math.sqrt(widthOf(query)));
  const scaled = graph.node('Mul', [query, scalarLike(graph, query, scale)]);
  const scores = graph.node('MatMul', [scaled, graph.node('Transpose', [key], { perm: [0, 1, 3, 2] })]);
  const masked = mask ? withMask(graph, scores, mask) : scores;
  return [graph.node('MatMul', [graph.node('Softmax', [masked], { axis: -1 }), value])];
}

const withMask = (graph: Graph, scores: Value, mask: Value): Value =>
  mask.type === 'bool'
    ? graph.node('Where', [mask, scores, scalarLike(graph, scores, LOWEST)])
    : graph.node('Add', [scores, mask]);

/** Turns pairs of numbers, each of x's [batch, heads, length, width] first half with one of its second. Set 23. */
export function rotaryEmbedding(graph: Graph, node: FileNode): readonly Value[] {
  const x = inputOf(node, 0);
  refuse(x.shape.length !== 4, 'RotaryEmbedding without an axis of heads');
  refuse(node.inputs[3] !== undefined, 'RotaryEmbedding with places');
  refuse(intAttribute(node, 'interleaved', 0) === 1, 'RotaryEmbedding of neighbours');
  refuse(intAttribute(node, 'rotary_embedding_dim', 0) !== 0, 'RotaryEmbedding of a part');
  const [cos, sin] = [1, 2].map((i) => graph.node('Unsqueeze', [inputOf(node, i), ints(graph, [1])])) as [Value, Value];
  const [a, b] = graph.nodeOutputs('Split', [x], 2, { axis: -1, num_outputs: 2 }) as [Value, Value];
  const product = (left: Value, right: Value): Value => graph.node('Mul', [left, right]);
  const first = graph.node('Sub', [product(a, cos), product(b, sin)]);
  const second = graph.node('Add', [product(a, sin), product(b, cos)]);
  return [graph.node('Concat', [first, second], { axis: -1 })];
}

/** x/√(mean(x²) + ε)·scale over the last axis. Set 23. */
export function rmsNormalization(graph: Graph, node: FileNode): readonly Value[] {
  const [x, scale] = [inputOf(node, 0), inputOf(node, 1)];
  const axis = intAttribute(node, 'axis', -1);
  refuse(axis !== -1 && axis !== x.shape.length - 1, 'RMSNormalization over several axes');
  const mean = graph.node('ReduceMean', [graph.node('Mul', [x, x]), ints(graph, [-1])], { keepdims: 1 });
  const epsilon = scalarLike(graph, x, floatAttribute(node.attributes, 'epsilon', 1e-5));
  const root = graph.node('Sqrt', [graph.node('Add', [mean, epsilon])]);
  return [graph.node('Mul', [graph.node('Div', [x, root]), scale])];
}
