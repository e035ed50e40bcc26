import { type Dim, normalizeAxis, type Shape, staticDims, UNKNOWN } from '../shape.ts';
import {
  agree,
  constantInts,
  dimsOfInput,
  type Inferred,
  inputOf,
  intAttribute,
  type NodeContext,
  presentInputs,
  type Rule,
  type Rules,
  sameType,
  stringAttribute,
} from './context.ts';

const gather: Rule = (node) => {
  const data = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), data.shape.length);
  return {
    type: data.type,
    shape: [...data.shape.slice(0, axis), ...inputOf(node, 1).shape, ...data.shape.slice(axis + 1)],
  };
};

const gatherElements: Rule = (node) => {
  const [data, indices] = [inputOf(node, 0), inputOf(node, 1)];
  normalizeAxis(intAttribute(node, 'axis', 0), data.shape.length);
  agree(data.shape.length, indices.shape.length, 'ranks of data and indices');
  return { type: data.type, shape: indices.shape };
};

const gatherND: Rule = (node) => {
  const [data, indices] = [inputOf(node, 0), inputOf(node, 1)];
  const depth = indices.shape.at(-1);
  if (typeof depth !== 'number') throw new RangeError(`indices [${indices.shape}] need a static last dimension`);
  const batches = intAttribute(node, 'batch_dims', 0);
  return { type: data.type, shape: [...indices.shape.slice(0, -1), ...data.shape.slice(batches + depth)] };
};

const scatterElements: Rule = (node) => {
  const [data, indices, updates] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
  normalizeAxis(intAttribute(node, 'axis', 0), data.shape.length);
  if (data.type !== updates.type) throw new TypeError(`cannot scatter ${updates.type} into ${data.type}`);
  for (const [axis, dim] of indices.shape.entries()) agree(dim, updates.shape[axis], 'shapes of indices and updates');
  return { type: data.type, shape: data.shape };
};

const scatterND: Rule = (node) => {
  const [data, updates] = [inputOf(node, 0), inputOf(node, 2)];
  if (data.type !== updates.type) throw new TypeError(`cannot scatter ${updates.type} into ${data.type}`);
  return { type: data.type, shape: data.shape };
};

const concat: Rule = (node) => {
  const first = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), first.shape.length);
  const dims = presentInputs(node).map((input) => input.shape[axis] as Dim);
  const length = staticDims(dims)?.reduce((sum, dim) => sum + dim, 0) ?? UNKNOWN;
  return { type: sameType(node), shape: first.shape.with(axis, length) };
};

/** One axis of a Slice: bounds as given, in ONNX's terms. */
export type Cut = { readonly axis: number; readonly start: Dim; readonly end: Dim; readonly step: number };

/** The axes that a Slice node cuts. */
export function cutsOf(node: NodeContext): Cut[] {
  const { shape } = inputOf(node, 0);
  const [starts, ends] = [dimsOfInput(node, 1), dimsOfInput(node, 2)];
  const axes = node.inputs[3] ? constantInts(node, 3) : starts.map((_, axis) => axis);
  const steps = node.inputs[4] ? constantInts(node, 4) : starts.map(() => 1);
  return axes.map((given, index) => ({
    axis: normalizeAxis(given, shape.length),
    start: starts[index] as Dim,
    end: ends[index] as Dim,
    step: steps[index] as number,
  }));
}

/** Where a cut of an axis of `dim` elements starts, and how many it takes. */
export function clampCut({ start, end, step }: Cut, dim: number): { first: number; count: number } {
  const clamp = (at: number, low: number, high: number): number =>
    Math.min(Math.max(at < 0 ? at + dim : at, low), high);
  const [from, to] = [Number(start), Number(end)];
  const first = step > 0 ? clamp(from, 0, dim) : clamp(from, 0, dim - 1);
  const last = step > 0 ? clamp(to, 0, dim) : clamp(to, -1, dim - 1);
  return { first, count: Math.max(Math.ceil((last - first) / step), 0) };
}

function cutDim(dim: Dim, cut: Cut): Dim {
  const { start, end, step } = cut;
  if (typeof start === 'number' && typeof end === 'number') {
    if (typeof dim === 'number') return clampCut(cut, dim).count;
    // From the first to past the last of an unknown number: all.
    return start === 0 && step === 1 && end >= Number.MAX_SAFE_INTEGER ? dim : UNKNOWN;
  }
  return start === 0 && step === 1 ? end : UNKNOWN;
}

const slice: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const result = [...shape];
  for (const cut of cutsOf(node)) result[cut.axis] = cutDim(shape[cut.axis] as Dim, cut);
  return { type, shape: result };
};

/** Parts of equal size, or of the sizes that a constant gives. */
const split: Rule = (node, count) => {
  const { type, shape } = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), shape.length);
  const sizes: readonly Dim[] = node.inputs[1] ? constantInts(node, 1) : evenParts(shape[axis] as Dim, count);
  return sizes.map((size): Inferred => ({ type, shape: shape.with(axis, size) }));
};

function evenParts(dim: Dim, count: number): readonly Dim[] {
  if (typeof dim !== 'number') return Array<Dim>(count).fill(UNKNOWN);
  const size = Math.ceil(dim / count);
  return Array.from({ length: count }, (_, i) => Math.max(Math.min(size, dim - i * size), 0));
}

const pad: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  if (node.inputs[3]) throw new RangeError('pads of chosen axes are not supported; give pads for all');
  if (stringAttribute(node, 'mode', 'constant') !== 'constant')
    throw new RangeError('only constant padding is supported');
  const pads = constantInts(node, 1);
  if (pads.length !== 2 * shape.length) throw new RangeError(`expected ${2 * shape.length} pads, got ${pads.length}`);
  return { type, shape: padded(shape, pads) };
};

const padded = (shape: Shape, pads: readonly number[]): Shape =>
  shape.map((dim, axis) => {
    const extra = (pads[axis] as number) + (pads[axis + shape.length] as number);
    if (extra === 0) return dim;
    return typeof dim === 'number' ? dim + extra : UNKNOWN;
  });

export const INDEXING: Rules = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  Concat: concat,
  Slice: slice,
  Split: split,
  Pad: pad,
};
