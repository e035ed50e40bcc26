import { broadcast, type Dim, normalizeAxis, type Shape, staticDims, UNKNOWN } from '../shape.ts';
import { elementCount } from '../tensor.ts';
import {
  constantInts,
  dimsOfInput,
  inputOf,
  intAttribute,
  intsAttribute,
  type Rule,
  type Rules,
  sameAsInput,
} from './context.ts';

/** What the −1 of a reshape comes to: names that both sides have cancel out. */
function inferredDim(from: Shape, rest: Shape): Dim {
  const left = [...from];
  const right: Dim[] = [];
  for (const dim of rest) {
    const at = typeof dim === 'string' && dim !== UNKNOWN ? left.indexOf(dim) : -1;
    if (at >= 0) left.splice(at, 1);
    else right.push(dim);
  }
  const divisor = staticDims(right);
  if (!divisor) return UNKNOWN;
  const numbers = left.filter((dim): dim is number => typeof dim === 'number');
  const names = left.filter((dim) => typeof dim === 'string');
  const count = elementCount(numbers) / elementCount(divisor);
  if (names.length === 0) return count;
  return names.length === 1 && count === 1 ? (names[0] as Dim) : UNKNOWN;
}

const reshape: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const copies = intAttribute(node, 'allowzero', 0) === 0;
  const target = dimsOfInput(node, 1).map((dim, axis): Dim => (dim === 0 && copies ? (shape[axis] ?? UNKNOWN) : dim));
  const missing = target.includes(-1)
    ? inferredDim(
        shape,
        target.filter((dim) => dim !== -1),
      )
    : 1;
  const result = target.map((dim) => (dim === -1 ? missing : dim));
  const [before, after] = [staticDims(shape), staticDims(result)];
  if (before && after && (!after.every(Number.isInteger) || elementCount(after) !== elementCount(before))) {
    throw new RangeError(`cannot reshape [${shape}] to [${target}]`);
  }
  return { type, shape: result };
};

const flatten: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const given = intAttribute(node, 'axis', 1);
  const axis = given === shape.length ? given : normalizeAxis(given, shape.length);
  const merged = (dims: Shape): Dim => {
    const known = staticDims(dims);
    return known ? elementCount(known) : dims.length === 1 ? (dims[0] as Dim) : UNKNOWN;
  };
  return { type, shape: [merged(shape.slice(0, axis)), merged(shape.slice(axis))] };
};

const transpose: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const axes = shape.map((_, axis) => axis);
  const permutation = intsAttribute(node, 'perm', axes.toReversed());
  if (permutation.toSorted((a, b) => a - b).join() !== axes.join()) {
    throw new RangeError(`perm [${permutation}] is no permutation of the axes of [${shape}]`);
  }
  return { type, shape: permutation.map((axis) => shape[axis] as Dim) };
};

const unsqueeze: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const given = constantInts(node, 1);
  const rank = shape.length + given.length;
  const axes = given.map((axis) => normalizeAxis(axis, rank));
  const rest = [...shape];
  return { type, shape: Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? 1 : (rest.shift() as Dim))) };
};

const squeeze: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const ones = shape.flatMap((dim, axis) => (dim === 1 ? [axis] : []));
  const axes = node.inputs[1] ? constantInts(node, 1).map((axis) => normalizeAxis(axis, shape.length)) : ones;
  const wide = axes.find((axis) => typeof shape[axis] === 'number' && shape[axis] !== 1);
  if (wide !== undefined) throw new RangeError(`axis ${wide} of [${shape}] is not 1`);
  return { type, shape: shape.filter((_, axis) => !axes.includes(axis)) };
};

const expand: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  return { type, shape: broadcast(shape, dimsOfInput(node, 1)) };
};

const tile: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const repeats = dimsOfInput(node, 1);
  return {
    type,
    shape: shape.map((dim, axis): Dim => {
      const times = repeats[axis] as Dim;
      if (times === 1) return dim;
      if (dim === 1) return times;
      return typeof dim === 'number' && typeof times === 'number' ? dim * times : UNKNOWN;
    }),
  };
};

const shapeOf: Rule = (node) => {
  const { length } = inputOf(node, 0).shape;
  const start = intAttribute(node, 'start', 0);
  const end = intAttribute(node, 'end', length);
  return { type: 'int64', shape: [Array.from({ length }).slice(start, end).length] };
};

const constantOfShape: Rule = (node) => {
  const { value } = node.attributes;
  const filled = typeof value === 'object' && 'tensor' in value ? value.tensor.type : 'float32';
  return { type: filled, shape: dimsOfInput(node, 0) };
};

/** start, limit, delta: as many numbers as fit; from 0 in steps of 1, as many as the limit says. */
const range: Rule = (node) => {
  const { type } = inputOf(node, 0);
  const [start, limit, delta] = [0, 1, 2].map((index) => node.elementsOf(inputOf(node, index))?.[0]);
  if (typeof start === 'number' && typeof limit === 'number' && typeof delta === 'number') {
    return { type, shape: [Math.max(Math.ceil((limit - start) / delta), 0)] };
  }
  return { type, shape: [start === 0 && delta === 1 && limit !== undefined ? limit : UNKNOWN] };
};

export const LAYOUT: Rules = {
  Reshape: reshape,
  Flatten: flatten,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Expand: expand,
  Tile: tile,
  Trilu: sameAsInput,
  Shape: shapeOf,
  ConstantOfShape: constantOfShape,
  Range: range,
};
