import { broadcast, type Dim, type Shape, UNKNOWN } from '../shape.ts';
import {
  agree,
  inputOf,
  intAttribute,
  intsAttribute,
  type NodeContext,
  type Rule,
  type Rules,
  sameType,
  stringAttribute,
} from './context.ts';

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

/** How a window slides over one spatial axis. */
export type Window = {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
};

/** The windows of a Conv or MaxPool node, one a spatial axis, from its attributes and the kernel's shape. */
export function windowsOf(node: Pick<NodeContext, 'attributes'>, kernels: readonly number[]): Window[] {
  const autoPad = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (autoPad !== 'NOTSET') throw new RangeError(`auto_pad ${autoPad} is not supported; use explicit pads`);
  if (intAttribute(node, 'ceil_mode', 0) !== 0) throw new RangeError('ceil_mode is not supported');
  const axes = kernels.length;
  const ones = kernels.map(() => 1);
  const strides = intsAttribute(node, 'strides', ones);
  const dilations = intsAttribute(node, 'dilations', ones);
  const pads = intsAttribute(node, 'pads', Array<number>(2 * axes).fill(0));
  return kernels.map((kernel, axis) => ({
    kernel,
    stride: strides[axis] as number,
    dilation: dilations[axis] as number,
    before: pads[axis] as number,
    after: pads[axis + axes] as number,
  }));
}

function slid(dim: Dim, { kernel, stride, dilation, before, after }: Window): Dim {
  if (typeof dim !== 'number') return stride === 1 && before + after === dilation * (kernel - 1) ? dim : UNKNOWN;
  const room = dim + before + after - dilation * (kernel - 1) - 1;
  if (room < 0)
    throw new RangeError(`a kernel of ${kernel} does not fit into a padded length of ${dim + before + after}`);
  return Math.floor(room / stride) + 1;
}

const conv: Rule = (node) => {
  const [data, weights] = [inputOf(node, 0), inputOf(node, 1)];
  const groups = intAttribute(node, 'group', 1);
  const [filters, channels, ...kernels] = weights.shape as readonly number[];
  if (data.shape.length !== weights.shape.length || data.shape.length < 3) {
    throw new RangeError(`expected data and weights of one rank above 2, got [${data.shape}] and [${weights.shape}]`);
  }
  agree(data.shape[1], (channels as number) * groups, 'channels of data and weights');
  const windows = windowsOf(node, kernels);
  const spatial = windows.map((window, axis) => slid(data.shape[axis + 2] as Dim, window));
  return { type: sameType(node), shape: [data.shape[0] as Dim, filters as number, ...spatial] };
};

/** Transposed convolution without groups: [N, C, L] and [C, M, K] give [N, M, …]. */
const convTranspose: Rule = (node) => {
  const [data, weights] = [inputOf(node, 0), inputOf(node, 1)];
  const [channels, filters, ...kernels] = weights.shape as readonly number[];
  agree(data.shape[1], channels, 'channels of data and weights');
  const padding = intsAttribute(
    node,
    'output_padding',
    kernels.map(() => 0),
  );
  const spatial = windowsOf(node, kernels).map(({ kernel, stride, dilation, before, after }, axis): Dim => {
    const dim = data.shape[axis + 2];
    if (typeof dim !== 'number') return UNKNOWN;
    return stride * (dim - 1) + (padding[axis] as number) + dilation * (kernel - 1) + 1 - before - after;
  });
  return { type: sameType(node), shape: [data.shape[0] as Dim, filters as number, ...spatial] };
};

/** The maxima, and where they lay in the flattened input. */
const maxPool: Rule = (node, count) => {
  const { type, shape } = inputOf(node, 0);
  const windows = windowsOf(node, intsAttribute(node, 'kernel_shape'));
  if (shape.length !== windows.length + 2) throw new RangeError(`expected rank ${windows.length + 2}, got [${shape}]`);
  const pooled = [...shape.slice(0, 2), ...windows.map((window, axis) => slid(shape[axis + 2] as Dim, window))];
  return [
    { type, shape: pooled },
    { type: 'int64' as const, shape: pooled },
  ].slice(0, count);
};

export const PRODUCTS: Rules = {
  MatMul: matMul,
  MatMulInteger: matMulInteger,
  Gemm: gemm,
  Conv: conv,
  ConvTranspose: convTranspose,
  MaxPool: maxPool,
};
