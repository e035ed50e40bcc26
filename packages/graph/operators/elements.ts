import { type Dim, normalizeAxis, staticDims, UNKNOWN } from '../shape.ts';
import { elementTypeOf } from '../tensor.ts';
import { type Inferred, inputOf, intAttribute, type NodeContext, presentInputs } from './context.ts';
import { clampCut, cutsOf } from './indexing.ts';

/**
 * Most elements that are followed through integer arithmetic. Shapes have a handful; a longer vector is data.
 */
export const MAX_ELEMENTS = 64;

type Elements = readonly Dim[];
type Follow = (node: NodeContext) => Elements | undefined;

const of = (node: NodeContext, index: number): Elements | undefined => node.elementsOf(inputOf(node, index));

/** Element by element, a single one serving for all; undefined where an operand is not followed. */
const pointwise =
  (apply: (...operands: Dim[]) => Dim): Follow =>
  (node) => {
    const operands = presentInputs(node).map((input) => node.elementsOf(input));
    if (operands.some((operand) => operand === undefined)) return undefined;
    const known = operands as Elements[];
    const length = Math.max(...known.map((operand) => operand.length));
    return Array.from({ length }, (_, i) =>
      apply(...known.map((operand) => (operand.length === 1 ? operand[0] : operand[i]) ?? UNKNOWN)),
    );
  };

/** Arithmetic on numbers; names survive where `unit`, as the right operand, changes nothing. */
const arithmetic = (apply: (a: number, b: number) => number, unit?: number): Follow =>
  pointwise((a, b = UNKNOWN) => {
    if (typeof a === 'number' && typeof b === 'number') return apply(a, b);
    return b === unit ? a : UNKNOWN;
  });

const product = pointwise((a, b = UNKNOWN) => {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  return b === 1 ? a : a === 1 ? b : UNKNOWN;
});

/** 1 or 0; a dimension is never negative, so a name equals no negative number. */
const equal = pointwise((a, b = UNKNOWN) => {
  if (typeof a === 'number' && typeof b === 'number') return Number(a === b);
  if (a === b && a !== UNKNOWN) return 1;
  return (typeof a === 'number' && a < 0) || (typeof b === 'number' && b < 0) ? 0 : UNKNOWN;
});

const where = pointwise((condition, yes = UNKNOWN, no = UNKNOWN) => {
  if (typeof condition === 'number') return condition === 1 ? yes : no;
  return yes === no ? yes : UNKNOWN;
});

const same: Follow = (node) => of(node, 0);

const gather: Follow = (node) => {
  const [data, indices] = [of(node, 0), of(node, 1)];
  if (!data || !indices?.every((index) => typeof index === 'number')) return undefined;
  return indices.map((index) => data.at(index) ?? UNKNOWN);
};

const concat: Follow = (node) => {
  const parts = presentInputs(node).map(
    (input) => node.elementsOf(input) ?? (staticDims(input.shape) && Array<Dim>(Number(input.shape[0])).fill(UNKNOWN)),
  );
  return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
};

const slice: Follow = (node) => {
  const [data, [cut]] = [of(node, 0), cutsOf(node)];
  if (!data || typeof cut?.start !== 'number' || typeof cut.end !== 'number') return undefined;
  const { first, count } = clampCut(cut, data.length);
  return Array.from({ length: count }, (_, i) => data[first + i * cut.step] as Dim);
};

const cast: Follow = (node) => {
  const type = elementTypeOf(intAttribute(node, 'to', 0));
  return type === 'int64' || type === 'int32' ? of(node, 0) : undefined;
};

const shape: Follow = (node) => {
  const dims = inputOf(node, 0).shape;
  return dims.slice(intAttribute(node, 'start', 0), intAttribute(node, 'end', dims.length));
};

const constantOfShape: Follow = (node) => {
  const length = of(node, 0)?.[0] ?? 1;
  const { value } = node.attributes;
  if (typeof length !== 'number' || length > MAX_ELEMENTS) return undefined;
  const filled = typeof value === 'object' && 'tensor' in value ? Number(value.tensor.data[0]) : 0;
  return Array<Dim>(length).fill(filled);
};

const range: Follow = (node) => {
  const [start, limit, delta] = [of(node, 0)?.[0], of(node, 1)?.[0], of(node, 2)?.[0]];
  if (typeof start !== 'number' || typeof limit !== 'number' || typeof delta !== 'number') return undefined;
  const length = Math.max(Math.ceil((limit - start) / delta), 0);
  return length <= MAX_ELEMENTS ? Array.from({ length }, (_, i) => start + i * delta) : undefined;
};

const reduceProd: Follow = (node) => {
  const dims = of(node, 0);
  if (!dims || normalizeAxis(0, inputOf(node, 0).shape.length) !== 0) return undefined;
  const numbers = staticDims(dims);
  return [numbers ? numbers.reduce((total, dim) => total * dim, 1) : UNKNOWN];
};

const FOLLOWED: Readonly<Record<string, Follow>> = {
  Shape: shape,
  Gather: gather,
  Concat: concat,
  Slice: slice,
  Cast: cast,
  Identity: same,
  Reshape: same,
  Squeeze: same,
  Unsqueeze: same,
  Add: arithmetic((a, b) => a + b, 0),
  Sub: arithmetic((a, b) => a - b, 0),
  Mul: product,
  Div: arithmetic((a, b) => Math.trunc(a / b), 1),
  Max: arithmetic(Math.max),
  Min: arithmetic(Math.min),
  Equal: equal,
  Where: where,
  ConstantOfShape: constantOfShape,
  Range: range,
  ReduceProd: reduceProd,
};

/**
 * The elements of a node's integer output, as far as they follow from constants and from shapes: what exporters spell
 * out in nodes to reshape by. Elements that only the running model knows are `?`.
 */
export function followElements(operator: string, node: NodeContext, { type, shape }: Inferred): Elements | undefined {
  const follows = type === 'int64' || type === 'int32' || type === 'bool';
  if (!follows || shape.length > 1 || Number(shape[0] ?? 1) > MAX_ELEMENTS) return undefined;
  const elements = FOLLOWED[operator]?.(node) ?? [];
  const length = shape.length === 0 ? 1 : shape[0];
  return elements.length === length && elements.some((element) => element !== UNKNOWN) ? elements : undefined;
}
