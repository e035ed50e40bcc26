import { ints } from '../emit.ts';
import { GraphError } from '../errors.ts';
import type { Attributes, Graph, Value } from '../graph.ts';
import { inputOf, intAttribute, intsAttribute } from '../operators/context.ts';
import { normalizeAxis } from '../shape.ts';
import { dataTypeCode, scalar, type TensorValue, vectorOf } from '../tensor.ts';
import { attention, rmsNormalization, rotaryEmbedding } from './later.ts';

/** A node of a file, its inputs looked up. `outputs` are the file's names; an output that nobody wants is ''. */
export type FileNode = {
  readonly operator: string;
  readonly name: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly string[];
  readonly attributes: Attributes;
};

/** Adds a node of a file as this library's operator set spells it; gives its outputs. */
type Emit = (graph: Graph, node: FileNode, opset: number) => readonly Value[];

const asIs = (graph: Graph, { operator, inputs, outputs, attributes, name }: FileNode): readonly Value[] =>
  graph.nodeOutputs(operator, inputs, outputs.length, attributes, name);

const omit = (attributes: Attributes, ...names: readonly string[]): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));

/** Before some operator set, `attribute` was an attribute; since then it is the second input. */
const attributeToInput =
  (attribute: string): Emit =>
  (graph, node) => {
    if (node.attributes[attribute] === undefined) return asIs(graph, node);
    const second = ints(graph, intsAttribute(node, attribute));
    return asIs(graph, { ...node, inputs: [node.inputs[0], second], attributes: omit(node.attributes, attribute) });
  };

/** Before 13, softmax ran over all axes from `axis` (by default 1) on, as if they were one. */
const softmax: Emit = (graph, node, opset) => {
  const x = inputOf(node, 0);
  const rank = x.shape.length;
  const axis = normalizeAxis(intAttribute(node, 'axis', opset < 13 ? 1 : -1), rank);
  if (opset >= 13 || axis === rank - 1) return asIs(graph, { ...node, attributes: { axis } });
  const flat = graph.node('Flatten', [x], { axis });
  const result = graph.nodeOutputs(node.operator, [flat], 1, { axis: -1 }, node.name);
  return [graph.node('Reshape', [result[0], graph.node('Shape', [x])])];
};

/** Sizes were an attribute before 13; without sizes, the number of parts is an attribute since 18. */
const split: Emit = (graph, node, opset) => {
  const converted = attributeToInput('split');
  const even = node.attributes.split === undefined && !node.inputs[1];
  if (!even || (opset >= 18 && node.attributes.num_outputs !== undefined)) return converted(graph, node, opset);
  return asIs(graph, { ...node, attributes: { ...node.attributes, num_outputs: node.outputs.length } });
};

/** Inference passes everything on. Dropout of a training is put in where it is built. */
const passOn: Emit = (_graph, node) => {
  if (node.outputs.length > 1 && node.outputs[1] !== '') {
    throw new GraphError('the mask of a Dropout is not supported');
  }
  return [inputOf(node, 0)];
};

const constantTensor = ({ attributes }: FileNode): TensorValue => {
  const { value, value_float, value_floats, value_int, value_ints } = attributes;
  if (typeof value === 'object' && 'tensor' in value) return value.tensor;
  if (typeof value_float === 'object' && 'float' in value_float) return scalar('float32', value_float.float);
  if (typeof value_floats === 'object' && 'floats' in value_floats) return vectorOf('float32', value_floats.floats);
  if (typeof value_int === 'number') return scalar('int64', value_int);
  if (Array.isArray(value_ints)) return vectorOf('int64', value_ints);
  throw new GraphError(`a Constant of ${Object.keys(attributes).join(', ') || 'nothing'} is not supported`);
};

/**
 * A cast to the type that the value has, as half precision read as float32 leaves many of. What else Cast says since
 * sets 19 and 24 is about types of 8 bits.
 */
const cast: Emit = (graph, node) => {
  const x = inputOf(node, 0);
  const to = intAttribute(node, 'to', 0);
  return to === dataTypeCode(x.type) ? [x] : asIs(graph, { ...node, attributes: { to } });
};

/** Since sets 21 and 23 scales may be for blocks, and the result of another type than they. */
const dequantizeLinear: Emit = (graph, node) => {
  const { block_size, output_dtype, ...attributes } = node.attributes;
  if ((block_size ?? 0) !== 0 || (output_dtype ?? 0) !== 0) {
    throw new GraphError('DequantizeLinear by blocks, or to a type of its own, is not supported');
  }
  return asIs(graph, { ...node, attributes });
};

const reduction = attributeToInput('axes');

const DIFFERENT: Readonly<Record<string, Emit>> = {
  Constant: (graph, node) => [graph.constant(constantTensor(node))],
  Identity: (_graph, node) => [inputOf(node, 0)],
  Dropout: passOn,
  Cast: cast,
  DequantizeLinear: dequantizeLinear,
  // Since set 27 it says in what precision numbers of 16 bits are computed.
  Range: (graph, node) => asIs(graph, { ...node, attributes: {} }),
  Softmax: softmax,
  LogSoftmax: softmax,
  Split: split,
  Squeeze: reduction,
  Unsqueeze: reduction,
  ReduceSum: reduction,
  ReduceMean: reduction,
  ReduceMax: reduction,
  ReduceMin: reduction,
  ReduceProd: reduction,
  ReduceL2: reduction,
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
  RMSNormalization: rmsNormalization,
};

/**
 * Adds a node of a file of operator set `opset` (11 or newer) to a graph of this library's, and gives its outputs. Nodes
 * that only pass on a value, or hold one, become that value.
 * @throws GraphError for an operator that this library does not know.
 */
export const addNormalised: Emit = (graph, node, opset) => (DIFFERENT[node.operator] ?? asIs)(graph, node, opset);
