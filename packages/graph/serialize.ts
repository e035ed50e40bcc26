import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  ModelProtoSchema,
  type NodeProtoSchema,
  type TensorProtoSchema,
  type ValueInfoProtoSchema,
} from 'onnx-buf';
import { GraphError } from './errors.ts';
import type { Attribute, Graph, GraphNode, Value } from './graph.ts';
import { UNKNOWN } from './shape.ts';
import { dataTypeCode, type TensorValue } from './tensor.ts';

/** Operator set 20 is the first with Gelu; IR 9 goes with it. */
export const OPSET_VERSION = 20;
const IR_VERSION = 9n;

const isStrings = (list: readonly number[] | readonly string[]): list is readonly string[] =>
  typeof list[0] === 'string';

function attributeProto(name: string, attribute: Attribute): MessageInitShape<typeof AttributeProtoSchema> {
  if (typeof attribute === 'string') {
    return { name, type: AttributeType.STRING, s: new TextEncoder().encode(attribute) };
  }
  if (typeof attribute === 'number') {
    if (!Number.isInteger(attribute))
      throw new GraphError(`attribute ${name}: ${attribute} is no integer; use {float}`);
    return { name, type: AttributeType.INT, i: BigInt(attribute) };
  }
  if ('float' in attribute) return { name, type: AttributeType.FLOAT, f: attribute.float };
  if ('floats' in attribute) return { name, type: AttributeType.FLOATS, floats: [...attribute.floats] };
  if ('tensor' in attribute) return { name, type: AttributeType.TENSOR, t: tensorProto('', attribute.tensor) };
  if (isStrings(attribute)) {
    return { name, type: AttributeType.STRINGS, strings: attribute.map((text) => new TextEncoder().encode(text)) };
  }
  return { name, type: AttributeType.INTS, ints: attribute.map(BigInt) };
}

const nodeProto = (node: GraphNode, names: (name: string) => string): MessageInitShape<typeof NodeProtoSchema> => ({
  name: node.name,
  opType: node.operator,
  input: node.inputs.map((input) => (input ? names(input.name) : '')),
  output: node.outputs.map((output) => names(output.name)),
  attribute: Object.entries(node.attributes).map(([name, attribute]) => attributeProto(name, attribute)),
});

/** Raw tensor data is little-endian by the ONNX standard, as are the typed arrays of every platform Node runs on. */
const tensorProto = (name: string, { type, dims, data }: TensorValue): MessageInitShape<typeof TensorProtoSchema> => ({
  name,
  dims: dims.map(BigInt),
  dataType: dataTypeCode(type),
  rawData: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
});

const valueInfo = (name: string, { type, shape }: Value): MessageInitShape<typeof ValueInfoProtoSchema> => ({
  name,
  type: {
    value: {
      case: 'tensorType',
      value: {
        elemType: dataTypeCode(type),
        shape: {
          dim: shape.map((dim) => {
            if (typeof dim === 'number') return { value: { case: 'dimValue', value: BigInt(dim) } };
            return dim === UNKNOWN ? {} : { value: { case: 'dimParam', value: dim } };
          }),
        },
      },
    },
  },
});

/** A passed-through input or constant, or a value under a second name, needs a node of its own. */
const identityNode = (from: string, to: string): MessageInitShape<typeof NodeProtoSchema> => ({
  name: `output_${to}`,
  opType: 'Identity',
  input: [from],
  output: [to],
});

/**
 * The names that values go by in the file. An ONNX output is named by the node that computes it, so the first output
 * that shows a computed value gives the value its name.
 */
function fileNames(graph: Graph): Map<string, string> {
  const computed = new Set(graph.nodes.flatMap((node) => node.outputs.map((output) => output.name)));
  const names = new Map<string, string>();
  for (const { name, value } of graph.outputs) {
    if (computed.has(value.name) && !names.has(value.name)) names.set(value.name, name);
  }
  return names;
}

/** Protocol buffers hold no more in one message. */
export const MAX_MODEL_BYTES = 2 ** 31 - 1;

/**
 * The graph as the bytes of an ONNX model of the standard operator set. The same graph gives the same bytes: there is
 * no time, host or random state in them.
 * @throws GraphError for constants of 2 GiB and more.
 */
export function serialize(graph: Graph): Uint8Array {
  const bytes = graph.constants.reduce((sum, { tensor }) => sum + tensor.data.byteLength, 0);
  if (bytes > MAX_MODEL_BYTES) {
    throw new GraphError(
      `model "${graph.name}" has ${bytes} bytes of constants; a file has at most ${MAX_MODEL_BYTES}: quantise its weights`,
    );
  }
  const renamed = fileNames(graph);
  const names = (name: string): string => renamed.get(name) ?? name;
  const extra = graph.outputs.filter(({ name, value }) => names(value.name) !== name);
  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    producerName: 'understudy',
    opsetImport: [{ domain: '', version: BigInt(OPSET_VERSION) }],
    graph: {
      name: graph.name,
      node: [
        ...graph.nodes.map((node) => nodeProto(node, names)),
        ...extra.map(({ name, value }) => identityNode(names(value.name), name)),
      ],
      initializer: graph.constants.map(({ value, tensor }) => tensorProto(value.name, tensor)),
      input: graph.inputs.map((input) => valueInfo(input.name, input)),
      output: graph.outputs.map(({ name, value }) => valueInfo(name, value)),
    },
  });
  return toBinary(ModelProtoSchema, model);
}
