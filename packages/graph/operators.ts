import { ALONG_AXES } from './operators/along-axes.ts';
import type { Inferred, NodeContext, Rules } from './operators/context.ts';
import { followElements } from './operators/elements.ts';
import { ELEMENTWISE } from './operators/elementwise.ts';
import { INDEXING } from './operators/indexing.ts';
import { LAYOUT } from './operators/layout.ts';
import { PRODUCTS } from './operators/products.ts';

const RULES: Rules = { ...ELEMENTWISE, ...PRODUCTS, ...ALONG_AXES, ...LAYOUT, ...INDEXING };

/** Whether this library can infer what an operator gives. */
export const isKnown = (operator: string): boolean => Object.hasOwn(RULES, operator);

/**
 * The element types and shapes of a node's first `count` outputs.
 * @throws Error for an operator outside the table, or inputs and attributes that the operator cannot take.
 */
export function infer(operator: string, node: NodeContext, count: number): readonly Inferred[] {
  const rule = RULES[operator];
  if (!rule) throw new TypeError(`unknown operator; known are ${Object.keys(RULES).join(', ')}`);
  const given = rule(node, count);
  const outputs = Array.isArray(given) ? (given as readonly Inferred[]) : [given as Inferred];
  if (outputs.length !== count) throw new RangeError(`gives ${outputs.length} outputs, not ${count}`);
  return outputs.map((output, index) =>
    index === 0 ? { ...output, elements: followElements(operator, node, output) } : output,
  );
}
