import { GraphError, NoGradientError } from './errors.ts';
import type { InputGradient } from './gradients/rule.ts';
import { FLAT_OPERATORS, GRADIENT_RULES, GRADIENT_RULES_OF_SEVERAL } from './gradients.ts';
import type { Graph, GraphNode, Value } from './graph.ts';
import { scalar } from './tensor.ts';

const isFloat = (value: Value): boolean => value.type === 'float32' || value.type === 'float64';

/** The nodes whose outputs depend on one of `sources`, through values that can carry a gradient. */
function dependents(graph: Graph, sources: readonly Value[]): { nodes: GraphNode[]; names: Set<string> } {
  const names = new Set(sources.map((source) => source.name));
  const nodes = graph.nodes.filter((node) => {
    const carriers = FLAT_OPERATORS.has(node.operator) ? [] : node.outputs.filter(isFloat);
    const depends = carriers.length > 0 && node.inputs.some((input) => input && names.has(input.name));
    if (depends) for (const output of carriers) names.add(output.name);
    return depends;
  });
  return { nodes, names };
}

/** @param upstream the gradients of the node's outputs, at least one of which the loss depends on. */
function gradientsOf(
  graph: Graph,
  node: GraphNode,
  upstream: readonly (Value | undefined)[],
): readonly InputGradient[] {
  const several = GRADIENT_RULES_OF_SEVERAL[node.operator];
  if (several) return several(graph, node, upstream);
  const rule = GRADIENT_RULES[node.operator];
  if (!rule) throw new NoGradientError(node.operator, node.name, graph.name);
  const further = upstream.findIndex((gradient, index) => index > 0 && gradient !== undefined);
  if (further > 0) throw new NoGradientError(`${node.operator} (output ${further})`, node.name, graph.name);
  return rule(graph, node, upstream[0] as Value);
}

/**
 * Reverse-mode differentiation: appends to `graph` the nodes that compute the gradient of `loss` with respect to each
 * of `sources`, and gives those gradients in the same order, each with its source's type and shape.
 * Only nodes between the sources and the loss need gradient rules.
 * @param loss a float scalar: a value of shape [].
 * @throws NoGradientError for an operator on the way that has no rule; GraphError when the loss is not a scalar or does
 *   not depend on a source.
 */
export function differentiate(graph: Graph, loss: Value, sources: readonly Value[]): Value[] {
  if (loss.shape.length !== 0 || !isFloat(loss)) {
    throw new GraphError(`model "${graph.name}": the loss must be a float scalar, got ${loss.type} [${loss.shape}]`);
  }
  const { nodes, names } = dependents(graph, sources);
  const gradients = new Map<string, Value>([[loss.name, graph.constant(scalar(loss.type, 1))]]);
  for (const node of nodes.toReversed()) {
    const upstream = node.outputs.map((output) => gradients.get(output.name));
    if (upstream.every((gradient) => gradient === undefined)) continue;
    const rules = gradientsOf(graph, node, upstream);
    for (const [index, input] of node.inputs.entries()) {
      if (!input || !names.has(input.name)) continue;
      const emit = rules[index];
      if (!emit) throw new NoGradientError(`${node.operator} (input ${index})`, node.name, graph.name);
      const gradient = emit();
      const earlier = gradients.get(input.name);
      gradients.set(input.name, earlier ? graph.node('Add', [earlier, gradient]) : gradient);
    }
  }
  return sources.map((source) => {
    const gradient = gradients.get(source.name);
    if (gradient) return gradient;
    throw new GraphError(`model "${graph.name}": the loss does not depend on "${source.name}"`);
  });
}
