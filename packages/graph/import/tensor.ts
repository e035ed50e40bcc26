import { TensorProto_DataLocation as DataLocation, TensorProto_DataType as DataType, type TensorProto } from 'onnx-buf';
import { GraphError } from '../errors.ts';
import { bytesPerElement, elementCount, elementTypeOf, type TensorValue, tensorOfBytes } from '../tensor.ts';

/** Where the data of a tensor lies outside its file: a part of another file. */
export type ExternalPart = { readonly location: string; readonly offset: number; readonly length: number };

/** Gives the bytes of an external part, or refuses. */
export type ReadExternal = (tensor: string, part: ExternalPart) => Promise<Uint8Array>;

/** A tensor is held in one buffer of the runtime's; nothing that is trained here comes near. */
export const MAX_TENSOR_BYTES = 2 ** 31 - 1;

const HALF = new Map([
  [DataType.FLOAT16, halfToFloat],
  [DataType.BFLOAT16, (bits: number) => fromBits(bits << 16)],
]);

const shared = new DataView(new ArrayBuffer(4));
function fromBits(bits: number): number {
  shared.setInt32(0, bits);
  return shared.getFloat32(0);
}

/** IEEE 754 binary16: sign, 5 bits of exponent with bias 15, 10 of fraction. */
function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The element type that a file's data type code is read as: half precision becomes float32. */
export const importedType = (code: number) => (HALF.has(code) ? 'float32' : elementTypeOf(code));

/** The elements as the bytes of `rawData`, where a file spells them in one of the lists by type. */
function listedBytes(proto: TensorProto): Uint8Array {
  const view = (array: ArrayBufferView): Uint8Array =>
    new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);
  switch (proto.dataType) {
    case DataType.FLOAT:
      return view(Float32Array.from(proto.floatData));
    case DataType.DOUBLE:
      return view(Float64Array.from(proto.doubleData));
    case DataType.INT64:
      return view(BigInt64Array.from(proto.int64Data));
    case DataType.UINT64:
      return view(BigUint64Array.from(proto.uint64Data));
    case DataType.UINT32:
      return view(Uint32Array.from(proto.uint64Data, Number));
    case DataType.INT32:
      return view(Int32Array.from(proto.int32Data));
    case DataType.FLOAT16:
    case DataType.BFLOAT16:
      return view(Uint16Array.from(proto.int32Data));
    default:
      return view(Uint8Array.from(proto.int32Data));
  }
}

function externalPart(proto: TensorProto): ExternalPart {
  const entries = new Map(proto.externalData.map(({ key, value }) => [key, value]));
  const number = (key: string, fallback: number): number => {
    const value = Number(entries.get(key) ?? fallback);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw new GraphError(`tensor "${proto.name}": external data with ${key} "${entries.get(key)}", which is no size`);
  };
  const location = entries.get('location');
  if (!location) throw new GraphError(`tensor "${proto.name}": external data without a location`);
  return { location, offset: number('offset', 0), length: number('length', 0) };
}

/** The static dimensions of a tensor in a file, with the bytes they take. */
function sizeOf(proto: TensorProto, bytesEach: number): { dims: number[]; bytes: number } {
  const dims = proto.dims.map(Number);
  const bytes = elementCount(dims) * bytesEach;
  if (dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0) && bytes <= MAX_TENSOR_BYTES) return { dims, bytes };
  throw new GraphError(
    `tensor "${proto.name}": dimensions [${dims}] take ${bytes} bytes; at most ${MAX_TENSOR_BYTES} can be read`,
  );
}

/**
 * A tensor of a file, its data inside the file or outside. float16 and bfloat16 are read as float32.
 * @throws GraphError for element types that are not built here, or data that does not fill the dimensions.
 */
export async function readTensor(proto: TensorProto, external: ReadExternal): Promise<TensorValue> {
  const type = importedType(proto.dataType);
  if (!type) {
    const given = DataType[proto.dataType] ?? proto.dataType;
    throw new GraphError(`tensor "${proto.name}": element type ${given} is not supported`);
  }
  const half = HALF.get(proto.dataType);
  const { dims, bytes } = sizeOf(proto, half ? 2 : bytesPerElement(type));
  const outside = proto.dataLocation === DataLocation.EXTERNAL || proto.externalData.length > 0;
  let data = proto.rawData.length > 0 ? proto.rawData : listedBytes(proto);
  if (outside) {
    const part = externalPart(proto);
    data = (await external(proto.name, { ...part, length: part.length || bytes })) as Uint8Array<ArrayBuffer>;
  }
  if (data.length !== bytes) {
    throw new GraphError(
      `tensor "${proto.name}": dimensions [${dims}] take ${bytes} bytes, but there are ${data.length}`,
    );
  }
  // A copy of its own: aligned, and without the file's other bytes behind it.
  const own = new Uint8Array(data);
  if (!half) return tensorOfBytes(type, dims, own);
  return { type, dims, data: Float32Array.from(new Uint16Array(own.buffer), half) };
}
