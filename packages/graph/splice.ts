import { GraphError } from './errors.ts';
import type { Graph, GraphNode, Value } from './graph.ts';

/** Values of a graph by name. */
export type Bindings = Readonly<Record<string, Value>>;

/** Gives a value in another way than its node does: from values of the source, copied, that it needs instead. */
export type Rewrite = {
  readonly inputs: readonly Value[];
  readonly emit: (target: Graph, inputs: readonly Value[]) => Value;
};

/** The nodes and constants that `wanted` needs, up to those that are bound. */
function reach(
  source: Graph,
  bound: ReadonlySet<string>,
  wanted: readonly Value[],
  rewrites: ReadonlyMap<string, Rewrite>,
): { nodes: readonly GraphNode[]; names: ReadonlySet<string> } {
  const names = new Set(wanted.map(({ name }) => name));
  const nodes: GraphNode[] = [];
  for (const node of source.nodes.toReversed()) {
    if (!node.outputs.some(({ name }) => names.has(name) && !bound.has(name))) continue;
    nodes.push(node);
    const rewrite = rewrites.get((node.outputs[0] as Value).name);
    for (const input of rewrite?.inputs ?? node.inputs) if (input) names.add(input.name);
  }
  return { nodes: nodes.reverse(), names };
}

/**
 * Copies what computes `wanted` from one graph into another, and gives the copies of `wanted`. Values named in `bindings`
 * are taken from the target instead of being copied: the source's inputs, constants that are to be trained, or any
 * other value. Types and shapes are inferred anew. Names stay as they were where the target has none like them.
 * @param rewrites by the names of the values that they give, which are the first outputs of their nodes.
 * @throws GraphError for an input of the source that is needed and not bound.
 */
export function copyValues(
  target: Graph,
  source: Graph,
  bindings: Bindings,
  wanted: readonly Value[],
  rewrites: ReadonlyMap<string, Rewrite> = new Map(),
): Value[] {
  const values = new Map(Object.entries(bindings));
  const { nodes, names } = reach(source, new Set(values.keys()), wanted, rewrites);
  for (const { value, tensor } of source.constants) {
    if (!names.has(value.name) || values.has(value.name)) continue;
    const copy = target.isTaken(value.name) ? target.constant(tensor) : target.constant(tensor, value.name);
    values.set(value.name, copy);
  }
  const copied = ({ name }: Value): Value => {
    const value = values.get(name);
    if (value) return value;
    throw new GraphError(`input "${name}" of model "${source.name}" is needed and nothing is bound to it`);
  };
  for (const { name, operator, inputs, outputs, attributes } of nodes) {
    const rewrite = rewrites.get((outputs[0] as Value).name);
    const results = rewrite
      ? [rewrite.emit(target, rewrite.inputs.map(copied))]
      : target.nodeOutputs(
          operator,
          inputs.map((input) => input && copied(input)),
          outputs.length,
          attributes,
          name,
        );
    for (const [index, output] of outputs.entries()) {
      if (!values.has(output.name)) values.set(output.name, results[index] as Value);
    }
  }
  return wanted.map(copied);
}

/**
 * Puts one graph into another, as a part of it: what `bindings` names among the source's inputs and constants is taken
 * from the target (inputs of the same names, or parameters that are trained), the rest is copied.
 * @param wanted names of the source's outputs; all where absent. What they do not need is left out.
 * @returns the source's outputs by name, as values of the target.
 * @throws GraphError for an input without a binding, a binding that fits nothing, or an output that is not there.
 */
export function splice(
  target: Graph,
  source: Graph,
  bindings: Bindings,
  wanted: readonly string[] = source.outputs.map(({ name }) => name),
): Record<string, Value> {
  const places = new Map([...source.inputs, ...source.constants.map(({ value }) => value)].map((v) => [v.name, v]));
  for (const [name, value] of Object.entries(bindings)) {
    const place = places.get(name);
    if (!place) throw new GraphError(`model "${source.name}" has no input or constant "${name}"`);
    if (place.type !== value.type) {
      throw new GraphError(`"${name}" of model "${source.name}": expected ${place.type}, got ${value.type}`);
    }
  }
  const outputs = wanted.map((name) => {
    const output = source.outputs.find((candidate) => candidate.name === name);
    if (output) return output.value;
    const known = source.outputs.map((candidate) => candidate.name).join(', ');
    throw new GraphError(`model "${source.name}" has no output "${name}"; it has ${known}`);
  });
  const copies = copyValues(target, source, bindings, outputs);
  return Object.fromEntries(wanted.map((name, index) => [name, copies[index] as Value]));
}
