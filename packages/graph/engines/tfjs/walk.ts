import * as tf from '@tensorflow/tfjs-core';
import { GraphError } from '../../errors.ts';
import type { Graph, GraphNode, Value } from '../../graph.ts';
import { ALONG_AXES_WALKS } from './along-axes.ts';
import { toTfjs, type WalkedNode, type Walks } from './context.ts';
import { ELEMENTWISE_WALKS } from './elementwise.ts';
import { INDEXING_WALKS } from './indexing.ts';
import { LAYOUT_WALKS } from './layout.ts';
import { PRODUCT_WALKS } from './products.ts';

/** What tfjs computes for an operator. Every differentiable one is checked against our gradient rules in walk.test.ts. */
export const WALKS: Walks = {
  ...ELEMENTWISE_WALKS,
  ...PRODUCT_WALKS,
  ...ALONG_AXES_WALKS,
  ...LAYOUT_WALKS,
  ...INDEXING_WALKS,
};

/** The nodes that a value depends on, in the graph's order, and the names of all that they read. */
function ancestors(graph: Graph, value: Value): { nodes: GraphNode[]; needed: Set<string> } {
  const needed = new Set([value.name]);
  const nodes = graph.nodes.toReversed().filter(({ inputs, outputs }) => {
    const wanted = outputs.some((output) => needed.has(output.name));
    if (wanted) for (const input of inputs) if (input) needed.add(input.name);
    return wanted;
  });
  return { nodes: nodes.reverse(), needed };
}

/** The part of a forward graph that leads to one value, as tfjs computes it: node by node, with its own operators. */
export class Walker {
  readonly #graph: Graph;
  readonly #nodes: readonly GraphNode[];
  readonly #needed: ReadonlySet<string>;
  readonly #result: Value;
  readonly #constants = new Map<string, tf.Tensor>();

  /** @throws GraphError when a node on the way cannot be walked. */
  constructor(graph: Graph, result: Value) {
    this.#graph = graph;
    this.#result = result;
    const { nodes, needed } = ancestors(graph, result);
    this.#nodes = nodes;
    this.#needed = needed;
    for (const node of this.#nodes) {
      if (!WALKS[node.operator]) throw this.#error(node, 'tfjs has no such operator; train with the engine ort');
    }
  }

  /** Whether the result depends on a value. */
  needs(value: Value): boolean {
    return this.#needed.has(value.name);
  }

  /** @param inputs tensors by name for each input of the graph. */
  run(inputs: ReadonlyMap<string, tf.Tensor>): tf.Tensor {
    const values = new Map(inputs);
    for (const node of this.#nodes) {
      const outputs = this.#walk(node, values);
      for (const [index, { name }] of node.outputs.entries()) values.set(name, outputs[index] as tf.Tensor);
    }
    return this.#tensor(this.#result, values);
  }

  dispose(): void {
    for (const tensor of this.#constants.values()) tensor.dispose();
    this.#constants.clear();
  }

  #walk(node: GraphNode, values: ReadonlyMap<string, tf.Tensor>): readonly tf.Tensor[] {
    const walked: WalkedNode = {
      ...node,
      constantOf: (value) => this.#graph.constantOf(value),
      elementsOf: (value) => this.#graph.elementsOf(value),
      tensor: (index) => node.inputs[index] && this.#tensor(node.inputs[index], values),
    };
    try {
      return [WALKS[node.operator]?.(walked) ?? []].flat();
    } catch (cause) {
      throw this.#error(node, (cause as Error).message, cause);
    }
  }

  #tensor(value: Value, values: ReadonlyMap<string, tf.Tensor>): tf.Tensor {
    const tensor = values.get(value.name) ?? this.#constants.get(value.name);
    if (tensor) return tensor;
    const constant = this.#graph.constantOf(value);
    if (!constant) throw new GraphError(`model "${this.#graph.name}" needs a tensor for its input "${value.name}"`);
    const kept = tf.keep(toTfjs(constant));
    this.#constants.set(value.name, kept);
    return kept;
  }

  #error(node: GraphNode, problem: string, cause?: unknown): GraphError {
    const where = `${node.operator} node "${node.name}" of model "${this.#graph.name}" on the engine tfjs`;
    return new GraphError(`${where}: ${problem}`, { cause });
  }
}
