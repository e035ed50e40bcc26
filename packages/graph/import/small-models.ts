import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  TensorProto_DataType as DataType,
  ModelProtoSchema,
  type NodeProtoSchema,
  type TensorProtoSchema,
} from 'onnx-buf';

/** A node as a file has it. */
export type Node = MessageInitShape<typeof NodeProtoSchema>;
export type Initializer = MessageInitShape<typeof TensorProtoSchema>;

export const WEIGHT: Initializer = {
  name: 'weight',
  dims: [2n, 2n],
  dataType: DataType.FLOAT,
  floatData: [1, 2, 3, 4],
};
export const PRODUCT: Node = { opType: 'MatMul', name: 'product', input: ['x', 'weight'], output: ['y'] };

export type Parts = {
  readonly nodes?: Node[];
  readonly initializers?: Initializer[];
  readonly opsets?: { domain: string; version: bigint }[];
  readonly functions?: boolean;
};

/** A model that multiplies x [batch, 2] by a weight, with parts of it replaced. */
export function modelOf({ nodes = [PRODUCT], initializers = [WEIGHT], opsets, functions }: Parts): Uint8Array {
  const batch = { value: { case: 'dimParam' as const, value: 'batch' } };
  const two = { value: { case: 'dimValue' as const, value: 2n } };
  const shape = { dim: [batch, two] };
  const type = { value: { case: 'tensorType' as const, value: { elemType: DataType.FLOAT, shape } } };
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: opsets ?? [{ domain: '', version: 17n }],
      functions: functions ? [{ name: 'own', domain: 'mine' }] : [],
      graph: {
        name: 'm',
        node: nodes,
        initializer: initializers,
        input: [{ name: 'x', type }],
        output: [{ name: 'y' }],
      },
    }),
  );
}
