/** A dimension: a number where it is static, a name (`batch`) where it is known only when the model runs. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** A dimension that is known only when the model runs and that nothing names. */
export const UNKNOWN = '?';

/** The shape, if all of its dimensions are known. */
export const staticDims = (shape: Shape): readonly number[] | undefined =>
  shape.every((dim) => typeof dim === 'number') ? (shape as readonly number[]) : undefined;

/** A negative axis counts from the end, as in ONNX. */
export function normalizeAxis(axis: number, rank: number): number {
  const normalized = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normalized < 0 || normalized >= rank) {
    throw new RangeError(`axis ${axis} is outside a shape of rank ${rank}`);
  }
  return normalized;
}

function broadcastDim(a: Dim, b: Dim): Dim {
  if (a === b || b === 1) return a;
  if (a === 1) return b;
  if (typeof a === 'number' && typeof b === 'number') throw new RangeError(`dimensions ${a} and ${b} do not broadcast`);
  if (typeof a === 'number') return a;
  if (typeof b === 'number') return b;
  return UNKNOWN;
}

/**
 * The shape of two operands under ONNX's multidirectional broadcasting. A named dimension is taken to fit the other
 * one: the runtime checks it.
 * @throws RangeError when two static dimensions differ and neither is 1.
 */
export function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  const at = (shape: Shape, index: number): Dim => shape[index - rank + shape.length] ?? 1;
  return Array.from({ length: rank }, (_, index) => broadcastDim(at(a, index), at(b, index)));
}

/** The axes along which `from` was repeated to make `to`, numbered as in `to`. Both shapes must be static there. */
export function broadcastAxes(from: Shape, to: Shape): number[] {
  const offset = to.length - from.length;
  return to.flatMap((dim, axis) => (axis < offset || (from[axis - offset] === 1 && dim !== 1) ? [axis] : []));
}
