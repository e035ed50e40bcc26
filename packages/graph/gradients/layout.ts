import { reduceSum, reshape, staticShape, sumTo } from '../emit.ts';
import { constantInts, inputOf, intsAttribute } from '../operators/context.ts';
import type { GradientRule, GradientRules } from './rule.ts';

const sameElements: GradientRule = (graph, node, upstream) => [
  () => reshape(graph, upstream, staticShape(inputOf(node, 0))),
  null,
];

const transpose: GradientRule = (graph, node, upstream) => [
  () => {
    const reversed = upstream.shape.map((_, axis) => axis).toReversed();
    const permutation = intsAttribute(node, 'perm', reversed);
    return graph.node('Transpose', [upstream], { perm: permutation.map((_, axis) => permutation.indexOf(axis)) });
  },
];

const expand: GradientRule = (graph, node, upstream) => [() => sumTo(graph, upstream, inputOf(node, 0).shape), null];

/** Sums over the repeats, each of which is made an axis of its own before the one it repeats. */
const tile: GradientRule = (graph, node, upstream) => [
  () => {
    const shape = staticShape(inputOf(node, 0));
    const repeats = constantInts(graph.contextOf(node), 1);
    const apart = reshape(
      graph,
      upstream,
      shape.flatMap((dim, axis) => [repeats[axis] as number, dim]),
    );
    return reduceSum(
      graph,
      apart,
      shape.map((_, axis) => 2 * axis),
      0,
    );
  },
  null,
];

const trilu: GradientRule = (graph, node, upstream) => [
  () => graph.node('Trilu', [upstream, node.inputs[1]], node.attributes),
  null,
];

export const LAYOUT_GRADIENTS: GradientRules = {
  Reshape: sameElements,
  Flatten: sameElements,
  Squeeze: sameElements,
  Unsqueeze: sameElements,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  Trilu: trilu,
};
