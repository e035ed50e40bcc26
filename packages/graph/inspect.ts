import { fromBinary } from '@bufbuild/protobuf';
import {
  TensorProto_DataLocation as DataLocation,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
} from 'onnx-buf';
import { GraphError } from './errors.ts';

/** What a model asks of whoever loads it, read from its bytes without loading it. */
export type ModelRequirements = {
  /** Operator domains that it uses, sorted; the standard one is `""` (which `ai.onnx` is another name of). */
  readonly domains: readonly string[];
  /** Tensors whose data lies outside the file. */
  readonly externalTensors: readonly string[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
};

function* tensorsOf(node: NodeProto): Generator<TensorProto> {
  for (const attribute of node.attribute) {
    if (attribute.t) yield attribute.t;
    yield* attribute.tensors;
    for (const sparse of [...(attribute.sparseTensor ? [attribute.sparseTensor] : []), ...attribute.sparseTensors]) {
      if (sparse.values) yield sparse.values;
      if (sparse.indices) yield sparse.indices;
    }
  }
}

function* initializersOf(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer;
  for (const { values, indices } of graph.sparseInitializer) {
    if (values) yield values;
    if (indices) yield indices;
  }
}

/** Every node of the model, those of subgraphs and functions included. */
function* walk(nodes: readonly NodeProto[], onGraph: (graph: GraphProto) => void): Generator<NodeProto> {
  for (const node of nodes) {
    yield node;
    for (const { g, graphs } of node.attribute) {
      for (const inner of g ? [g, ...graphs] : graphs) {
        onGraph(inner);
        yield* walk(inner.node, onGraph);
      }
    }
  }
}

/** @throws GraphError when the bytes are no ONNX model. */
export function parseModel(bytes: Uint8Array): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw new GraphError('the bytes are no ONNX model', { cause });
  }
}

/**
 * Reads what a model requires, so that a file from elsewhere can be refused before a runtime sees it.
 * @throws GraphError when the bytes are no ONNX model.
 */
export function requirementsOf(bytes: Uint8Array): ModelRequirements {
  const model = parseModel(bytes);
  if (!model.graph) throw new GraphError('the ONNX model has no graph');
  const graphs = [model.graph];
  const domains = new Set([...model.opsetImport, ...model.functions].map(({ domain }) => domain));
  const tensors: TensorProto[] = [];
  const nodes = [...model.graph.node, ...model.functions.flatMap((body) => body.node)];
  for (const node of walk(nodes, (inner) => graphs.push(inner))) {
    domains.add(node.domain);
    tensors.push(...tensorsOf(node));
  }
  for (const graph of graphs) tensors.push(...initializersOf(graph));
  const external = tensors.filter((t) => t.dataLocation === DataLocation.EXTERNAL || t.externalData.length > 0);
  return {
    domains: [...new Set([...domains].map((domain) => (domain === 'ai.onnx' ? '' : domain)))].sort(),
    externalTensors: external.map(({ name }) => name),
    inputs: model.graph.input.map(({ name }) => name),
    outputs: model.graph.output.map(({ name }) => name),
  };
}
