import { basename } from 'node:path';
import type { GraphProto, ModelProto, NodeProto, ValueInfoProto } from 'onnx-buf';
import { GraphError, NodeError } from './errors.ts';
import { Graph, type Value } from './graph.ts';
import { readAttributes } from './import/attributes.ts';
import { evaluate, Folder } from './import/constants.ts';
import { fusions } from './import/fuse.ts';
import { addNormalised } from './import/normalise.ts';
import { mayBeWeight, type Parameter, parametersOf } from './import/parameters.ts';
import { type ModelFile, readModel } from './import/read.ts';
import { importedType, readTensor } from './import/tensor.ts';
import { type Dim, UNKNOWN } from './shape.ts';
import { type Bindings, copyValues } from './splice.ts';

/** Operator sets whose operators are read; what changed between them was compared one by one. */
export const OLDEST_OPSET = 11;
export const NEWEST_OPSET = 28;

export type ImportOptions = {
  /** Sizes for dimensions that the model names. Those that are not given stay names, and the graph cannot be trained. */
  readonly dims?: Readonly<Record<string, number>>;
  /** The outputs to keep; all where absent. What they do not need is left out. */
  readonly outputs?: readonly string[];
};

/**
 * A model from a file. Its weights are constants of `graph` under the names that the file gives its initializers: bind
 * them with `splice` to train them.
 */
export type ImportedModel = { readonly graph: Graph; readonly parameters: readonly Parameter[] };

const isStandard = (domain: string): boolean => domain === '' || domain === 'ai.onnx';

function operatorSet(model: ModelProto, name: string): number {
  const used = model.graph?.node.find(({ domain }) => !isStandard(domain));
  if (used) {
    throw new GraphError(
      `${used.opType} node "${used.name}" of model "${name}": the operator domain "${used.domain}" is not supported; ` +
        'export the model with standard operators, before any optimizer of a runtime',
    );
  }
  if (model.functions.length > 0) {
    throw new GraphError(`model "${name}" defines functions of its own; inline them (onnx.inliner) before the import`);
  }
  const version = Number(model.opsetImport.find(({ domain }) => isStandard(domain))?.version ?? 0);
  if (version >= OLDEST_OPSET && version <= NEWEST_OPSET) return version;
  throw new GraphError(
    `model "${name}" is of operator set ${version}; ${OLDEST_OPSET} to ${NEWEST_OPSET} can be read: export it again`,
  );
}

function inputShape(info: ValueInfoProto, dims: Readonly<Record<string, number>>): { type: number; shape: Dim[] } {
  const { value } = info.type ?? {};
  if (value?.case !== 'tensorType' || !value.value.shape) {
    throw new GraphError(`input "${info.name}" is no tensor of a known rank`);
  }
  const shape = value.value.shape.dim.map(({ value: dim }): Dim => {
    if (dim.case === 'dimValue') return Number(dim.value);
    return dim.case === 'dimParam' && dim.value !== '' ? (dims[dim.value] ?? dim.value) : UNKNOWN;
  });
  return { type: value.value.elemType, shape };
}

/** Every name that dimensions of the inputs go by. */
const dimensionNames = (graph: GraphProto): string[] => [
  ...new Set(
    graph.input.flatMap(({ type }) =>
      type?.value.case === 'tensorType'
        ? (type.value.value.shape?.dim ?? []).flatMap(({ value }) => (value.case === 'dimParam' ? [value.value] : []))
        : [],
    ),
  ),
];

/** Reads a file's nodes into a graph of this library's operator set. */
class Importer {
  readonly graph: Graph;
  readonly values = new Map<string, Value>();
  readonly folder: Folder;
  readonly #file: ModelFile;
  readonly #opset: number;

  constructor(file: ModelFile, name: string) {
    this.#file = file;
    this.#opset = operatorSet(file.model, name);
    this.graph = new Graph(name);
    this.folder = new Folder(this.graph);
  }

  addInputs(graph: GraphProto, dims: Readonly<Record<string, number>>): void {
    const names = dimensionNames(graph);
    const unknown = Object.keys(dims).find((name) => !names.includes(name));
    if (unknown !== undefined) {
      throw new GraphError(`no input of model "${this.graph.name}" has a dimension "${unknown}"; there are ${names}`);
    }
    const initialised = new Set(graph.initializer.map(({ name }) => name));
    for (const info of graph.input) {
      if (initialised.has(info.name)) continue;
      const { type: code, shape } = inputShape(info, dims);
      const type = importedType(code);
      if (!type) throw new GraphError(`input "${info.name}": element type ${code} is not supported`);
      this.values.set(info.name, this.graph.input(info.name, type, shape));
    }
  }

  async addInitializers(graph: GraphProto): Promise<void> {
    if (graph.sparseInitializer.length > 0) throw new GraphError('sparse initializers are not supported');
    for (const proto of graph.initializer) {
      const tensor = await readTensor(proto, this.#file.external);
      const value = this.graph.constant(tensor, proto.name);
      if (!mayBeWeight(tensor)) this.folder.addConstant(value);
      this.values.set(proto.name, value);
    }
  }

  async addNodes(nodes: readonly NodeProto[]): Promise<void> {
    const later = new Set(nodes.flatMap(({ output }) => output));
    for (const node of nodes) {
      try {
        await this.#addNode(node, later);
      } catch (cause) {
        if (cause instanceof NodeError) throw cause;
        throw new NodeError(node.opType, node.name, this.graph.name, cause);
      }
    }
  }

  async #addNode(node: NodeProto, later: ReadonlySet<string>): Promise<void> {
    const inputs = node.input.map((name) => (name === '' ? undefined : this.#lookUp(name, later)));
    const attributes = await readAttributes(node.attribute, this.#file.external);
    const operator = node.opType;
    const add = (given: readonly (Value | undefined)[]): readonly Value[] =>
      addNormalised(
        this.graph,
        { operator, name: node.name, inputs: given, outputs: node.output, attributes },
        this.#opset,
      );
    let outputs: readonly Value[];
    try {
      outputs = add(inputs);
    } catch (cause) {
      // Axes and shapes may be computed in ways that are not followed element by element.
      const pending = this.folder.unfolded(inputs);
      if (pending.length === 0) throw cause;
      outputs = add(await this.#evaluated(inputs, pending));
    }
    for (const [index, name] of node.output.entries()) {
      const output = outputs[index];
      if (name === '' || !output) continue;
      if (this.values.has(name)) throw new GraphError(`two nodes give the value "${name}"`);
      this.values.set(name, this.folder.follow(output, inputs));
    }
  }

  #lookUp(name: string, later: ReadonlySet<string>): Value {
    const value = this.values.get(name);
    if (value) return value;
    throw new GraphError(
      later.has(name)
        ? `input "${name}" comes from a node that is not before this one: the graph has a cycle or is out of order`
        : `input "${name}" comes from no node, input or initializer`,
    );
  }

  async #evaluated(
    inputs: readonly (Value | undefined)[],
    pending: readonly Value[],
  ): Promise<readonly (Value | undefined)[]> {
    const tensors = await evaluate(this.graph, pending);
    return inputs.map((input) => {
      const tensor = input && tensors[pending.indexOf(input)];
      if (!tensor) return input;
      const constant = this.graph.constant(tensor);
      this.folder.addConstant(constant);
      return constant;
    });
  }
}

function wantedOutputs(graph: GraphProto, wanted: readonly string[] | undefined, name: string): readonly string[] {
  const names = graph.output.map((output) => output.name);
  const missing = wanted?.find((output) => !names.includes(output));
  if (missing !== undefined) throw new GraphError(`model "${name}" has no output "${missing}"; it has ${names}`);
  return wanted ?? names;
}

/**
 * Reads an ONNX model, of operator sets 11 to 28, as a graph that can be differentiated, spliced into others, and saved.
 * Constants and shape arithmetic are folded, dropout and what no output needs are left out, float16 and bfloat16
 * become float32; Gelu and LayerNormalization that are spelled in other operators are fused. Without `dims` the graph keeps its named dimensions, as for inference; for training, give all sizes.
 * @param source the file's bytes, or its path, beside which its external data may lie.
 * @throws GraphError, naming node, operator and model, for what is no ONNX model, operators and domains that are not
 *   known, control flow, external data elsewhere than beside the file, or a model without weights.
 */
export async function importModel(source: Uint8Array | string, options: ImportOptions = {}): Promise<ImportedModel> {
  const file = await readModel(source);
  const proto = file.model.graph;
  if (!proto) throw new GraphError('the ONNX model has no graph');
  const name = typeof source === 'string' ? basename(source) : proto.name;
  const importer = new Importer(file, name);
  importer.addInputs(proto, options.dims ?? {});
  await importer.addInitializers(proto);
  await importer.addNodes(proto.node);
  const outputs = wantedOutputs(proto, options.outputs, name).map((output) => {
    const value = importer.values.get(output);
    if (!value) throw new GraphError(`output "${output}" of model "${name}" comes from no node`);
    return { name: output, value };
  });
  const graph = await finished(importer, outputs);
  const parameters = parametersOf(graph, new Set(proto.initializer.map((initializer) => initializer.name)));
  if (parameters.length === 0) {
    throw new GraphError(
      `model "${name}" has no weights: no float initializer that its outputs can be differentiated by`,
    );
  }
  return { graph, parameters };
}

type NamedValue = { readonly name: string; readonly value: Value };

/** A graph of the same inputs with these outputs, whose copies `copy` makes. */
function graphOf(
  source: Graph,
  names: readonly string[],
  copy: (graph: Graph, inputs: Bindings) => readonly Value[],
): Graph {
  const graph = new Graph(source.name);
  const inputs = source.inputs.map(({ name, type, shape }) => [name, graph.input(name, type, shape)] as const);
  for (const [i, value] of copy(graph, Object.fromEntries(inputs)).entries()) graph.output(names[i] as string, value);
  return graph;
}

/** The imported graph with its constant parts computed, what can be one operator fused, and what no output needs left out. */
async function finished({ graph: read, folder }: Importer, outputs: readonly NamedValue[]): Promise<Graph> {
  const wanted = outputs.map(({ value }) => value);
  const names = outputs.map(({ name }) => name);
  const constants = await folder.fold(wanted);
  const folded = graphOf(read, names, (graph, inputs) => {
    const computed = constants.map(({ name, tensor }) => [name, graph.constant(tensor, name)] as const);
    return copyValues(graph, read, { ...inputs, ...Object.fromEntries(computed) }, wanted);
  });
  const values = folded.outputs.map(({ value }) => value);
  return graphOf(folded, names, (graph, inputs) => copyValues(graph, folded, inputs, values, fusions(folded)));
}
