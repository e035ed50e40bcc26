import { FLAT_OPERATORS, GRADIENT_RULES, GRADIENT_RULES_OF_SEVERAL } from '../gradients.ts';
import type { Graph, Value } from '../graph.ts';
import type { TensorValue } from '../tensor.ts';

/** Larger numbers stand for infinity in attention masks, which are no weights. */
const LARGEST_WEIGHT = 1e30;

/** A weight of an imported model, under the name that its file gives it. */
export type Parameter = { readonly name: string; readonly tensor: TensorValue };

const isFloat = ({ type }: Pick<Value, 'type'>): boolean => type === 'float32' || type === 'float64';

/** Whether a tensor of a file can be a weight: several finite numbers of a float type. */
export const mayBeWeight = (tensor: TensorValue): boolean => isFloat(tensor) && tensor.data.length > 1;

function withoutInfinity({ data }: TensorValue): boolean {
  // A loop, because a callback for each of 20 million weights takes longer than the rest of the import.
  for (let i = 0; i < data.length; i++) if (!(Math.abs(data[i] as number) < LARGEST_WEIGHT)) return false;
  return true;
}

/** Angles are positions times frequencies, which are fixed: what only gets to the outputs through these is no weight. */
const isDifferentiated = (operator: string): boolean =>
  operator !== 'Sin' &&
  operator !== 'Cos' &&
  !FLAT_OPERATORS.has(operator) &&
  (Object.hasOwn(GRADIENT_RULES, operator) || Object.hasOwn(GRADIENT_RULES_OF_SEVERAL, operator));

/**
 * Those of a graph's constants that are weights and that its outputs can be differentiated by, in the graph's order.
 * @param candidates names of the constants that a file holds, as opposed to those that were computed.
 */
export function parametersOf(graph: Graph, candidates: ReadonlySet<string>): Parameter[] {
  const names = new Set(
    graph.outputs
      .map(({ value }) => value)
      .filter(isFloat)
      .map(({ name }) => name),
  );
  for (const { operator, inputs, outputs } of graph.nodes.toReversed()) {
    if (!isDifferentiated(operator) || !outputs.some(({ name }) => names.has(name))) continue;
    for (const input of inputs) if (input && isFloat(input)) names.add(input.name);
  }
  return graph.constants
    .filter(({ value: { name } }) => names.has(name) && candidates.has(name))
    .filter(({ tensor }) => mayBeWeight(tensor) && withoutInfinity(tensor))
    .map(({ value, tensor }) => ({ name: value.name, tensor }));
}
