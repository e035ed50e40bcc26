import { GraphError, NodeError } from './errors.ts';
import type { Inferred, NodeContext } from './operators/context.ts';
import { MAX_ELEMENTS } from './operators/elements.ts';
import { infer } from './operators.ts';
import type { Dim, Shape } from './shape.ts';
import type { ElementType, TensorValue } from './tensor.ts';

/** An edge of a graph: what a node, an input or a constant gives, with its element type and shape. */
export type Value = { readonly name: string; readonly type: ElementType; readonly shape: Shape };

/**
 * A node's attribute. A plain number is an int, and a plain list ints; floats are wrapped, because JavaScript cannot
 * tell 1.0 from 1.
 */
export type Attribute =
  | number
  | readonly number[]
  | string
  | readonly string[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly tensor: TensorValue };
export type Attributes = Readonly<Record<string, Attribute>>;

/** An optional input that a node does without is undefined. Outputs that nothing asked for are not there. */
export type GraphNode = {
  readonly name: string;
  readonly operator: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
  readonly attributes: Attributes;
};

export type Constant = { readonly value: Value; readonly tensor: TensorValue };

const outputName = (node: string, index: number): string => `${node}_out${index === 0 ? '' : index + 1}`;

/**
 * An ONNX graph under construction. Nodes are kept in the order in which they were added, which is a topological one,
 * because a node can only use values that exist. The same calls build the same graph, name for name.
 */
export class Graph {
  readonly name: string;
  readonly inputs: Value[] = [];
  readonly outputs: { readonly name: string; readonly value: Value }[] = [];
  readonly nodes: GraphNode[] = [];
  readonly #constants = new Map<string, Constant>();
  readonly #elements = new Map<string, readonly Dim[]>();
  readonly #names = new Set<string>();
  readonly #counts = new Map<string, number>();

  constructor(name: string) {
    this.name = name;
  }

  get constants(): Constant[] {
    return [...this.#constants.values()];
  }

  /** Whether a value or an output of this graph has the name. */
  isTaken(name: string): boolean {
    return this.#names.has(name);
  }

  /** The tensor behind a value, if the value is a constant of this graph. */
  constantOf(value: Value): TensorValue | undefined {
    return this.#constants.get(value.name)?.tensor;
  }

  /**
   * The elements of an integer vector or scalar, as far as they follow from constants and shapes: dimensions that only
   * the running model knows are names, elements of which nothing is known `?`. Undefined where nothing is.
   */
  elementsOf(value: Value): readonly Dim[] | undefined {
    const tensor = this.constantOf(value);
    if (!tensor) return this.#elements.get(value.name);
    const follows = tensor.type === 'int64' || tensor.type === 'int32' || tensor.type === 'bool';
    if (!follows || tensor.dims.length > 1 || tensor.data.length > MAX_ELEMENTS) return undefined;
    return Array.from(tensor.data, Number);
  }

  /** Declares a model input. A string in `shape` names a dimension that is known only when the model runs. */
  input(name: string, type: ElementType, shape: Shape): Value {
    const value = this.#value(name, type, shape);
    this.inputs.push(value);
    return value;
  }

  /** Adds a constant (an ONNX initializer), under a name of its own or a generated one. */
  constant(tensor: TensorValue, name = this.#fresh('constant')): Value {
    const value = this.#value(name, tensor.type, tensor.dims);
    this.#constants.set(name, { value, tensor });
    return value;
  }

  /**
   * Adds a node and gives its first output, whose type and shape are inferred.
   * @throws GraphError for an operator that this library does not know, or inputs that it cannot take.
   */
  node(operator: string, inputs: readonly (Value | undefined)[], attributes: Attributes = {}): Value {
    return this.nodeOutputs(operator, inputs, 1, attributes)[0] as Value;
  }

  /**
   * Adds a node and gives its first `count` outputs: the parts of a Split, or LayerNormalization's statistics.
   * @param name of the node, unless another one has it.
   */
  nodeOutputs(
    operator: string,
    inputs: readonly (Value | undefined)[],
    count: number,
    attributes: Attributes = {},
    name = '',
  ): readonly Value[] {
    const unique = name === '' || this.isTaken(outputName(name, 0)) ? this.#fresh(operator) : name;
    const inferred = this.#infer(unique, { operator, inputs, attributes }, count);
    const outputs = inferred.map((output, index) => this.#value(outputName(unique, index), output.type, output.shape));
    for (const [index, { elements }] of inferred.entries()) {
      if (elements) this.#elements.set((outputs[index] as Value).name, elements);
    }
    this.nodes.push({ name: unique, operator, inputs, outputs, attributes });
    return outputs;
  }

  /** The first `count` outputs of a node of this graph, which is made to give those that nothing asked for so far. */
  outputsOf({ name }: GraphNode, count: number): readonly Value[] {
    const at = this.nodes.findIndex((candidate) => candidate.name === name);
    const node = this.nodes[at];
    if (!node) throw new GraphError(`model "${this.name}" has no node "${name}"`);
    if (node.outputs.length >= count) return node.outputs;
    const added = this.#infer(name, node, count).slice(node.outputs.length);
    const outputs = [
      ...node.outputs,
      ...added.map(({ type, shape }, i) => this.#value(outputName(name, node.outputs.length + i), type, shape)),
    ];
    this.nodes[at] = { ...node, outputs };
    return outputs;
  }

  /** What rules see of a node. */
  contextOf({ inputs, attributes }: Pick<GraphNode, 'inputs' | 'attributes'>): NodeContext {
    return {
      inputs,
      attributes,
      constantOf: (value) => this.constantOf(value),
      elementsOf: (value) => this.elementsOf(value),
    };
  }

  /** Makes a value a model output under a name of its own. */
  output(name: string, value: Value): void {
    if (this.#names.has(name)) throw new GraphError(`model "${this.name}" already has a value "${name}"`);
    this.#names.add(name);
    this.outputs.push({ name, value });
  }

  #infer(
    name: string,
    { operator, inputs, attributes }: Pick<GraphNode, 'operator' | 'inputs' | 'attributes'>,
    count: number,
  ): readonly Inferred[] {
    try {
      return infer(operator, this.contextOf({ inputs, attributes }), count);
    } catch (cause) {
      throw new NodeError(operator, name, this.name, cause);
    }
  }

  #value(name: string, type: ElementType, shape: Shape): Value {
    if (this.#names.has(name)) throw new GraphError(`model "${this.name}" already has a value "${name}"`);
    this.#names.add(name);
    return { name, type, shape };
  }

  #fresh(stem: string): string {
    let count = this.#counts.get(stem) ?? 0;
    let name: string;
    do {
      count += 1;
      name = `${stem}_${count}`;
    } while (this.isTaken(name) || this.isTaken(outputName(name, 0)));
    this.#counts.set(stem, count);
    return name;
  }
}
