import type { Attributes, Value } from './graph.ts';
import { broadcast, type Dim, normalizeAxis, type Shape, staticDims, UNKNOWN } from './shape.ts';
import { type ElementType, elementCount, elementTypeOf, type TensorValue } from './tensor.ts';

/** What a rule sees of a node: its inputs, its attributes, and the constants among its inputs. */
export type NodeContext = {
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  readonly constantOf: (value: Value) => TensorValue | undefined;
};

export type Inferred = { readonly type: ElementType; readonly shape: Shape };
type Rule = (node: NodeContext) => Inferred;

export function inputOf(node: Pick<NodeContext, 'inputs'>, index: number): Value {
  const value = node.inputs[index];
  if (!value) throw new RangeError(`expected input ${index}, got ${node.inputs.length} inputs without it`);
  return value;
}

const presentInputs = (node: Pick<NodeContext, 'inputs'>): Value[] =>
  node.inputs.filter((input) => input !== undefined);

export function intAttribute(node: Pick<NodeContext, 'attributes'>, name: string, fallback: number): number {
  const value = node.attributes[name] ?? fallback;
  if (typeof value !== 'number') throw new TypeError(`attribute ${name}: expected an integer`);
  return value;
}

export function intsAttribute(node: Pick<NodeContext, 'attributes'>, name: string): readonly number[] {
  const value = node.attributes[name];
  if (!Array.isArray(value)) throw new TypeError(`attribute ${name}: expected a list of integers`);
  return value;
}

/** The integers of a constant input: axes, a shape, pads. */
export function constantInts(node: NodeContext, index: number): number[] {
  const constant = node.constantOf(inputOf(node, index));
  if (constant?.type !== 'int64') throw new TypeError(`input ${index}: expected an int64 constant`);
  return Array.from(constant.data, Number);
}

function sameType(node: NodeContext): ElementType {
  const { type } = inputOf(node, 0);
  const other = presentInputs(node).find((input) => input.type !== type);
  if (other) throw new TypeError(`inputs of types ${type} and ${other.type} ("${other.name}") cannot be mixed`);
  return type;
}

const broadcastShape = (node: NodeContext): Shape =>
  presentInputs(node)
    .map((input) => input.shape)
    .reduce((a, b) => broadcast(a, b));

const elementwise: Rule = (node) => ({ type: sameType(node), shape: broadcastShape(node) });
const comparison: Rule = (node) => ({ ...elementwise(node), type: 'bool' });
const unary: Rule = (node) => ({ type: inputOf(node, 0).type, shape: inputOf(node, 0).shape });
const alongAxis: Rule = (node) => {
  normalizeAxis(intAttribute(node, 'axis', -1), inputOf(node, 0).shape.length);
  return unary(node);
};

function agree(a: Dim | undefined, b: Dim | undefined, what: string): void {
  if (typeof a === 'number' && typeof b === 'number' && a !== b) throw new RangeError(`${what}: ${a} and ${b} differ`);
}

function matMulShape(a: Shape, b: Shape): Shape {
  if (a.length < 2 || b.length < 2) throw new RangeError(`expected two matrices, got shapes [${a}] and [${b}]`);
  agree(a.at(-1), b.at(-2), `inner dimensions of [${a}] and [${b}]`);
  return [...broadcast(a.slice(0, -2), b.slice(0, -2)), a.at(-2) as Dim, b.at(-1) as Dim];
}

const matMul: Rule = (node) => ({
  type: sameType(node),
  shape: matMulShape(inputOf(node, 0).shape, inputOf(node, 1).shape),
});

const matMulInteger: Rule = (node) => ({
  type: 'int32',
  shape: matMulShape(inputOf(node, 0).shape, inputOf(node, 1).shape),
});

const gemm: Rule = (node) => {
  const oriented = (index: number, flag: string): Shape =>
    intAttribute(node, flag, 0) ? inputOf(node, index).shape.toReversed() : inputOf(node, index).shape;
  const shape = matMulShape(oriented(0, 'transA'), oriented(1, 'transB'));
  if (shape.length !== 2) throw new RangeError('expected two-dimensional inputs');
  const bias = node.inputs[2];
  if (bias) broadcast(bias.shape, shape);
  return { type: sameType(node), shape };
};

const reduce: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const axes = constantInts(node, 1).map((axis) => normalizeAxis(axis, shape.length));
  const kept = intAttribute(node, 'keepdims', 1) === 1;
  return { type, shape: shape.flatMap((dim, axis) => (!axes.includes(axis) ? [dim] : kept ? [1] : [])) };
};

const gather: Rule = (node) => {
  const data = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), data.shape.length);
  return {
    type: data.type,
    shape: [...data.shape.slice(0, axis), ...inputOf(node, 1).shape, ...data.shape.slice(axis + 1)],
  };
};

const scatterElements: Rule = (node) => {
  const [data, indices, updates] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
  normalizeAxis(intAttribute(node, 'axis', 0), data.shape.length);
  if (data.type !== updates.type) throw new TypeError(`cannot scatter ${updates.type} into ${data.type}`);
  for (const [axis, dim] of indices.shape.entries()) agree(dim, updates.shape[axis], 'shapes of indices and updates');
  return { type: data.type, shape: data.shape };
};

const concat: Rule = (node) => {
  const first = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), first.shape.length);
  const dims = presentInputs(node).map((input) => input.shape[axis] as Dim);
  const length = staticDims(dims)?.reduce((sum, dim) => sum + dim, 0) ?? UNKNOWN;
  return { type: sameType(node), shape: first.shape.with(axis, length) };
};

const slice: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const [starts, ends, axes, steps] = [1, 2, 3, 4].map((index) => constantInts(node, index)) as [
    number[],
    number[],
    number[],
    number[],
  ];
  if (steps.some((step) => step !== 1)) throw new RangeError(`only slices of step 1 are supported, got [${steps}]`);
  const result = [...shape];
  for (const [index, given] of axes.entries()) {
    const axis = normalizeAxis(given, shape.length);
    const dim = shape[axis];
    const clamp = (at: number): number => Math.min(Math.max(at < 0 ? at + Number(dim) : at, 0), Number(dim));
    result[axis] =
      typeof dim === 'number' ? Math.max(clamp(ends[index] as number) - clamp(starts[index] as number), 0) : UNKNOWN;
  }
  return { type, shape: result };
};

const pad: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const pads = constantInts(node, 1);
  if (pads.length !== 2 * shape.length) throw new RangeError(`expected ${2 * shape.length} pads, got ${pads.length}`);
  return {
    type,
    shape: shape.map((dim, axis) => {
      const extra = (pads[axis] as number) + (pads[axis + shape.length] as number);
      if (extra === 0) return dim;
      return typeof dim === 'number' ? dim + extra : UNKNOWN;
    }),
  };
};

const reshape: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const target = constantInts(node, 1).map((dim, axis): Dim => (dim === 0 ? (shape[axis] ?? UNKNOWN) : dim));
  const [dims, rest] = [staticDims(shape), staticDims(target.filter((dim) => dim !== -1))];
  if (!dims || !rest) return { type, shape: target.map((dim) => (dim === -1 ? UNKNOWN : dim)) };
  const inferred = elementCount(dims) / elementCount(rest);
  const result = target.map((dim) => (dim === -1 ? inferred : dim));
  if (!Number.isInteger(inferred) || elementCount(result as number[]) !== elementCount(dims)) {
    throw new RangeError(`cannot reshape [${shape}] to [${target}]`);
  }
  return { type, shape: result };
};

const transpose: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  const permutation = intsAttribute(node, 'perm');
  if (permutation.toSorted((a, b) => a - b).join() !== shape.map((_, axis) => axis).join()) {
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

const expand: Rule = (node) => {
  const { type, shape } = inputOf(node, 0);
  return { type, shape: broadcast(shape, constantInts(node, 1)) };
};

const where: Rule = (node) => {
  const [condition, yes, no] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
  if (condition.type !== 'bool') throw new TypeError(`expected a bool condition, got ${condition.type}`);
  if (yes.type !== no.type) throw new TypeError(`branches of types ${yes.type} and ${no.type} cannot be mixed`);
  return { type: yes.type, shape: broadcastShape(node) };
};

const cast: Rule = (node) => {
  const code = intAttribute(node, 'to', 0);
  const type = elementTypeOf(code);
  if (!type) throw new TypeError(`attribute to: ${code} is no supported element type`);
  return { type, shape: inputOf(node, 0).shape };
};

/** Parts of equal size, or of the sizes that a constant gives. */
const split = (node: NodeContext, count: number): Inferred[] => {
  const { type, shape } = inputOf(node, 0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), shape.length);
  const dim = shape[axis] as Dim;
  const even = typeof dim === 'number' ? Math.ceil(dim / count) : UNKNOWN;
  const sizes = node.inputs[1]
    ? constantInts(node, 1)
    : Array.from({ length: count }, (_, i) =>
        typeof even === 'number' ? Math.max(Math.min(even, Number(dim) - i * even), 0) : even,
      );
  return sizes.map((size) => ({ type, shape: shape.with(axis, size) }));
};

/** Rules of operators that may be asked for more than their first output. */
const RULES_OF_SEVERAL: Readonly<Record<string, (node: NodeContext, count: number) => readonly Inferred[]>> = {
  Split: split,
};

const RULES: Readonly<Record<string, Rule>> = {
  Add: elementwise,
  Sub: elementwise,
  Mul: elementwise,
  Div: elementwise,
  Mod: elementwise,
  Pow: elementwise,
  Max: elementwise,
  Min: elementwise,
  And: elementwise,
  BitShift: elementwise,
  BitwiseAnd: elementwise,
  BitwiseXor: elementwise,
  Less: comparison,
  Greater: comparison,
  Equal: comparison,
  Neg: unary,
  Sqrt: unary,
  Exp: unary,
  Log: unary,
  Relu: unary,
  Tanh: unary,
  Sigmoid: unary,
  Identity: unary,
  Softmax: alongAxis,
  LogSoftmax: alongAxis,
  MatMul: matMul,
  MatMulInteger: matMulInteger,
  Gemm: gemm,
  ReduceSum: reduce,
  ReduceMean: reduce,
  Gather: gather,
  ScatterElements: scatterElements,
  Concat: concat,
  Slice: slice,
  Pad: pad,
  Reshape: reshape,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
  Expand: expand,
  Where: where,
  Cast: cast,
};

/**
 * The element types and shapes of a node's first `count` outputs.
 * @throws Error for an operator outside the table, or inputs and attributes that the operator cannot take.
 */
export function infer(operator: string, node: NodeContext, count: number): readonly Inferred[] {
  const rule = RULES[operator];
  if (rule && count === 1) return [rule(node)];
  const rules = RULES_OF_SEVERAL[operator];
  if (!rule && !rules) throw new TypeError(`unknown operator; known are ${Object.keys(RULES).join(', ')}`);
  const outputs = rules?.(node, count) ?? [];
  if (outputs.length !== count) throw new RangeError(`cannot give ${count} outputs`);
  return outputs;
}
