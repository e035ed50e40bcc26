import { TensorProto_DataType as DataType } from 'onnx-buf';

/** Element types this library builds graphs with, named as onnxruntime names them. */
export type ElementType = 'float32' | 'float64' | 'int64' | 'int32' | 'uint64' | 'uint32' | 'uint8' | 'int8' | 'bool';

export type TensorData =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | BigUint64Array
  | Uint32Array
  | Uint8Array
  | Int8Array;

/** A dense tensor in row-major order: `data.length` is the product of `dims`. */
export type TensorValue = { readonly type: ElementType; readonly dims: readonly number[]; readonly data: TensorData };

const ELEMENT = {
  float32: { code: DataType.FLOAT, array: Float32Array },
  float64: { code: DataType.DOUBLE, array: Float64Array },
  int64: { code: DataType.INT64, array: BigInt64Array },
  int32: { code: DataType.INT32, array: Int32Array },
  uint64: { code: DataType.UINT64, array: BigUint64Array },
  uint32: { code: DataType.UINT32, array: Uint32Array },
  uint8: { code: DataType.UINT8, array: Uint8Array },
  int8: { code: DataType.INT8, array: Int8Array },
  bool: { code: DataType.BOOL, array: Uint8Array },
} as const satisfies Record<ElementType, unknown>;

const TYPE_OF_CODE = new Map<number, ElementType>(
  Object.entries(ELEMENT).map(([type, { code }]) => [code, type as ElementType]),
);

/** The ONNX data type code (`TensorProto.DataType`) of an element type. */
export const dataTypeCode = (type: ElementType): number => ELEMENT[type].code;

/** The element type of an ONNX data type code, or undefined for one that this library does not build. */
export const elementTypeOf = (code: number): ElementType | undefined => TYPE_OF_CODE.get(code);

export const bytesPerElement = (type: ElementType): number => ELEMENT[type].array.BYTES_PER_ELEMENT;

/** A tensor over little-endian bytes, which start at a multiple of the element's size. */
export function tensorOfBytes(type: ElementType, dims: readonly number[], bytes: Uint8Array<ArrayBuffer>): TensorValue {
  const data = new ELEMENT[type].array(bytes.buffer, bytes.byteOffset, bytes.byteLength / bytesPerElement(type));
  return tensor(type, dims, data);
}

/** The number of elements of a static shape; 1 for a scalar's empty shape. */
export const elementCount = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1);

/**
 * A tensor from a typed array, whose length must be the product of `dims`.
 * @throws RangeError when length and dims disagree, or the array's kind is not the type's.
 */
export function tensor(type: ElementType, dims: readonly number[], data: TensorData): TensorValue {
  const expected = elementCount(dims);
  if (data.length !== expected) {
    throw new RangeError(`expected ${expected} elements for dims [${dims}], got ${data.length}`);
  }
  if (!(data instanceof ELEMENT[type].array)) {
    throw new RangeError(`expected a ${ELEMENT[type].array.name} for ${type}, got a ${data.constructor.name}`);
  }
  return { type, dims, data };
}

/** A tensor of zeros. */
export const zeros = (type: ElementType, dims: readonly number[]): TensorValue => ({
  type,
  dims,
  data: new ELEMENT[type].array(elementCount(dims)),
});

/** A scalar of any numeric type; int64 and uint64 are rounded from the number. */
export function scalar(type: ElementType, value: number): TensorValue {
  return vectorOf(type, [value], []);
}

/** A one-dimensional tensor; `dims` may give the same elements another shape. */
export function vectorOf(
  type: ElementType,
  values: readonly number[],
  dims: readonly number[] = [values.length],
): TensorValue {
  if (type === 'int64') return tensor(type, dims, BigInt64Array.from(values, BigInt));
  if (type === 'uint64') return tensor(type, dims, BigUint64Array.from(values, BigInt));
  return tensor(type, dims, ELEMENT[type].array.from(values));
}
