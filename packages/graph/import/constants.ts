import type { Tensor } from 'onnxruntime-node';
import { Graph, type Value } from '../graph.ts';
import { serialize } from '../serialize.ts';
import { openSession } from '../session.ts';
import { staticDims } from '../shape.ts';
import { copyValues } from '../splice.ts';
import { type ElementType, elementCount, type TensorValue, vectorOf } from '../tensor.ts';

/** A constant of more elements stays the nodes that compute it: a few operators take less room in a file. */
const MAX_FOLDED_ELEMENTS = 65_536;

const fromRuntime = ({ type, dims, data }: Tensor): TensorValue => ({
  type: type as ElementType,
  dims,
  data: data as TensorValue['data'],
});

/** What values that depend on nothing but constants come to, computed by the runtime in one run. */
export async function evaluate(graph: Graph, values: readonly Value[]): Promise<TensorValue[]> {
  if (values.length === 0) return [];
  const part = new Graph(`${graph.name}: constants`);
  for (const [index, value] of copyValues(part, graph, {}, values).entries()) part.output(`value ${index}`, value);
  const session = await openSession(serialize(part), { threads: 1 });
  const results = await session.run({});
  await session.release();
  return values.map((_, index) => fromRuntime(results[`value ${index}`] as Tensor));
}

/**
 * Keeps track of which values of a graph under import depend on nothing but constants. Weights are not among those
 * constants, or a table of positions would be folded into the rows that happen to be looked up.
 */
export class Folder {
  readonly #graph: Graph;
  readonly #folding = new Set<string>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  addConstant(value: Value): void {
    this.#folding.add(value.name);
  }

  /** Learns of a node's output; gives the value to use instead, which is a constant where it is known at once. */
  follow(output: Value, inputs: readonly (Value | undefined)[]): Value {
    const elements = this.#graph.elementsOf(output);
    const dims = staticDims(output.shape);
    if (elements?.every(Number.isSafeInteger) && dims && !this.#graph.constantOf(output)) {
      const constant = this.#graph.constant(vectorOf(output.type, elements as number[], dims));
      this.addConstant(constant);
      return constant;
    }
    if (inputs.every((input) => input === undefined || this.#folding.has(input.name))) this.addConstant(output);
    return output;
  }

  /** Of these inputs, those that fold and have not been folded. */
  unfolded(inputs: readonly (Value | undefined)[]): Value[] {
    return inputs.filter(
      (input) => input !== undefined && this.#folding.has(input.name) && !this.#graph.constantOf(input),
    ) as Value[];
  }

  /** The largest parts of what `wanted` needs that fold, each under the name of its value, computed. */
  async fold(wanted: readonly Value[]): Promise<readonly { readonly name: string; readonly tensor: TensorValue }[]> {
    const names = new Set(wanted.map(({ name }) => name));
    const frontier = new Map(this.unfolded(wanted).map((value) => [value.name, value]));
    for (const node of this.#graph.nodes.toReversed()) {
      const live = node.outputs.some(({ name }) => names.has(name) && !frontier.has(name));
      if (!live) continue;
      for (const input of node.inputs) if (input) names.add(input.name);
      for (const input of this.unfolded(node.inputs)) {
        if (elementCount(staticDims(input.shape) ?? [Number.POSITIVE_INFINITY]) <= MAX_FOLDED_ELEMENTS) {
          frontier.set(input.name, input);
        }
      }
    }
    const values = [...frontier.values()];
    const tensors = await evaluate(this.#graph, values);
    return values.map(({ name }, i) => ({ name, tensor: tensors[i] as TensorValue }));
  }
}
