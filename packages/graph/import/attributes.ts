import { type AttributeProto, AttributeProto_AttributeType as AttributeType } from 'onnx-buf';
import { GraphError } from '../errors.ts';
import type { Attribute, Attributes } from '../graph.ts';
import { dataTypeCode } from '../tensor.ts';
import { importedType, type ReadExternal, readTensor } from './tensor.ts';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Bounds such as the largest int64 stand for "to the end": every number past the exact ones serves as well. */
function integer(value: bigint): number {
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  if (value > limit) return Number.MAX_SAFE_INTEGER;
  return value < -limit ? -Number.MAX_SAFE_INTEGER : Number(value);
}

async function readAttribute(proto: AttributeProto, external: ReadExternal): Promise<Attribute> {
  switch (proto.type) {
    case AttributeType.INT:
      return integer(proto.i);
    case AttributeType.INTS:
      return proto.ints.map(integer);
    case AttributeType.FLOAT:
      return { float: proto.f };
    case AttributeType.FLOATS:
      return { floats: proto.floats };
    case AttributeType.STRING:
      return text(proto.s);
    case AttributeType.STRINGS:
      return proto.strings.map(text);
    case AttributeType.TENSOR:
      if (!proto.t) throw new GraphError(`attribute ${proto.name}: a tensor without content`);
      return { tensor: await readTensor(proto.t, external) };
    case AttributeType.GRAPH:
    case AttributeType.GRAPHS:
      throw new GraphError(
        `attribute ${proto.name} holds a subgraph; control flow is not supported: export the model without it`,
      );
    default:
      throw new GraphError(`attribute ${proto.name}: type ${AttributeType[proto.type] ?? proto.type} is not supported`);
  }
}

/** Element types that attributes name: half precision is computed in float32. */
const TYPE_ATTRIBUTES: ReadonlySet<string> = new Set(['to', 'dtype']);

/** The attributes of a node in a file. @throws GraphError for subgraphs and other kinds that are not built here. */
export async function readAttributes(protos: readonly AttributeProto[], external: ReadExternal): Promise<Attributes> {
  const attributes: Record<string, Attribute> = {};
  for (const proto of protos) {
    const value = await readAttribute(proto, external);
    const type = TYPE_ATTRIBUTES.has(proto.name) && typeof value === 'number' ? importedType(value) : undefined;
    attributes[proto.name] = type ? dataTypeCode(type) : value;
  }
  return attributes;
}
