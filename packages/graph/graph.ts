import { GraphError } from './errors.ts';
import { infer } from './operators.ts';
import type { Shape } from './shape.ts';
import type { ElementType, TensorValue } from './tensor.ts';

/** An edge of a graph: what a node, an input or a constant gives, with its element type and shape. */
export type Value = { readonly name: string; readonly type: ElementType; readonly shape: Shape };

/** A node's attribute. A plain number is an int; a float is wrapped, because JavaScript cannot tell 1.0 from 1. */
export type Attribute = number | readonly number[] | string | { readonly float: number };
export type Attributes = Readonly<Record<string, Attribute>>;

export type GraphNode = {
  readonly name: string;
  readonly operator: string;
  readonly inputs: readonly Value[];
  readonly output: Value;
  readonly attributes: Attributes;
};

export type Constant = { readonly value: Value; readonly tensor: TensorValue };

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
  readonly #names = new Set<string>();
  readonly #counts = new Map<string, number>();

  constructor(name: string) {
    this.name = name;
  }

  get constants(): Constant[] {
    return [...this.#constants.values()];
  }

  /** The tensor behind a value, if the value is a constant of this graph. */
  constantOf(value: Value): TensorValue | undefined {
    return this.#constants.get(value.name)?.tensor;
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
   * Adds a node and gives its output, whose type and shape are inferred.
   * @throws GraphError for an operator that this library does not know, or inputs that it cannot take.
   */
  node(operator: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    const name = this.#fresh(operator);
    let inferred: { type: ElementType; shape: Shape };
    try {
      inferred = infer(operator, { inputs, attributes, constantOf: (value) => this.constantOf(value) });
    } catch (cause) {
      throw new GraphError(`${operator} node "${name}" of model "${this.name}": ${(cause as Error).message}`, {
        cause,
      });
    }
    const output = this.#value(`${name}_out`, inferred.type, inferred.shape);
    this.nodes.push({ name, operator, inputs, output, attributes });
    return output;
  }

  /** Makes a value a model output under a name of its own. */
  output(name: string, value: Value): void {
    if (this.#names.has(name)) throw new GraphError(`model "${this.name}" already has a value "${name}"`);
    this.#names.add(name);
    this.outputs.push({ name, value });
  }

  #value(name: string, type: ElementType, shape: Shape): Value {
    if (this.#names.has(name)) throw new GraphError(`model "${this.name}" already has a value "${name}"`);
    this.#names.add(name);
    return { name, type, shape };
  }

  #fresh(stem: string): string {
    const count = (this.#counts.get(stem) ?? 0) + 1;
    this.#counts.set(stem, count);
    return `${stem}_${count}`;
  }
}
