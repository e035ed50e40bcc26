import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, NodeProtoSchema, TensorProto_DataType, ValueInfoProtoSchema } from 'onnx-buf';
import type { InferenceSession, Tensor } from './runtime.ts';

/** An output that onnxruntime-node 1.30 computes and cannot give to JavaScript. */
const STOP = 'stop';
/** What it says of such an output. */
const STOPPED = 'Non tensor type is temporarily not supported.';

/**
 * Prepares a model for `runInPlace`. onnxruntime-node copies every output of a run into a new array, also one that it has
 * already written where the caller wanted it: for a training step three times the parameters, a third of its time. It
 * copies one after another and gives up at the first output that is no tensor, so here a sequence comes before all others.
 * @param scalar the name of a float32 scalar among the model's outputs: what the sequence holds.
 */
export function withoutCopies(model: Uint8Array, scalar: string): Uint8Array {
  const proto = fromBinary(ModelProtoSchema, model);
  const { graph } = proto;
  if (!graph) throw new TypeError('expected a model with a graph, got one without');
  graph.node.push(
    create(NodeProtoSchema, { name: STOP, opType: 'SequenceConstruct', input: [scalar], output: [STOP] }),
  );
  const element = {
    value: { case: 'tensorType', value: { elemType: TensorProto_DataType.FLOAT, shape: {} } },
  } as const;
  const type = { value: { case: 'sequenceType', value: { elemType: element } } } as const;
  graph.output.unshift(create(ValueInfoProtoSchema, { name: STOP, type }));
  return toBinary(ModelProtoSchema, proto);
}

/**
 * Runs a model that `withoutCopies` has prepared: what it gives is in the memory of `fetches` and nowhere else. Where
 * onnxruntime-node does return outputs, as another release may, they are left unread.
 * @throws Error from the runtime, as `InferenceSession.run` does.
 */
export async function runInPlace(
  session: InferenceSession,
  feeds: Readonly<Record<string, Tensor>>,
  fetches: Readonly<Record<string, Tensor>>,
): Promise<void> {
  try {
    await session.run(feeds, { [STOP]: null, ...fetches });
  } catch (error) {
    if (!(error instanceof Error && error.message === STOPPED)) throw error;
  }
}
