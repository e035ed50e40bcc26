import type { Attributes, Value } from '../graph.ts';
import { broadcast, type Dim, type Shape, UNKNOWN } from '../shape.ts';
import type { ElementType, TensorValue } from '../tensor.ts';

/** What a rule sees of a node: its inputs, its attributes, and what is known of its inputs' elements. */
export type NodeContext = {
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  /** The tensor behind a value that is a constant. */
  readonly constantOf: (value: Value) => TensorValue | undefined;
  /** The elements of an integer vector or scalar as far as they follow from constants and shapes: `[batch, 12, 64]`. */
  readonly elementsOf: (value: Value) => readonly Dim[] | undefined;
};

export type Inferred = {
  readonly type: ElementType;
  readonly shape: Shape;
  readonly elements?: readonly Dim[] | undefined;
};

/** The first `count` outputs of a node; a rule for operators of one output gives that one. */
export type Rule = (node: NodeContext, count: number) => Inferred | readonly Inferred[];
export type Rules = Readonly<Record<string, Rule>>;

type WithInputs = Pick<NodeContext, 'inputs'>;
type WithAttributes = Pick<NodeContext, 'attributes'>;

/** An input that must be there. */
export function inputOf(node: WithInputs, index: number): Value {
  const value = node.inputs[index];
  if (!value) throw new RangeError(`expected input ${index}, got ${node.inputs.length} inputs without it`);
  return value;
}

export const presentInputs = (node: WithInputs): Value[] => node.inputs.filter((input) => input !== undefined);

export function intAttribute(node: WithAttributes, name: string, fallback: number): number {
  const value = node.attributes[name] ?? fallback;
  if (typeof value !== 'number') throw new TypeError(`attribute ${name}: expected an integer`);
  return value;
}

export function intsAttribute(node: WithAttributes, name: string, fallback?: readonly number[]): readonly number[] {
  const value = node.attributes[name] ?? fallback;
  if (!Array.isArray(value) || value.some((item) => typeof item !== 'number')) {
    throw new TypeError(`attribute ${name}: expected a list of integers`);
  }
  return value;
}

export function stringAttribute(node: WithAttributes, name: string, fallback: string): string {
  const value = node.attributes[name] ?? fallback;
  if (typeof value !== 'string') throw new TypeError(`attribute ${name}: expected a string`);
  return value;
}

/** The integers of an input whose elements must all be known: axes, pads. */
export function constantInts(node: NodeContext, index: number): number[] {
  const elements = node.elementsOf(inputOf(node, index));
  if (!elements?.every((element) => typeof element === 'number')) {
    throw new TypeError(`input ${index}: expected an int64 constant`);
  }
  return elements as number[];
}

/** The dimensions that an input spells, those unknown that only the running model knows. Their number must be known. */
export function dimsOfInput(node: NodeContext, index: number): readonly Dim[] {
  const input = inputOf(node, index);
  const known = node.elementsOf(input);
  if (known) return known;
  const [length] = input.shape;
  if (typeof length !== 'number' || (input.type !== 'int64' && input.type !== 'int32')) {
    throw new TypeError(`input ${index}: expected integers of a known number, got ${input.type} [${input.shape}]`);
  }
  return Array<Dim>(length).fill(UNKNOWN);
}

export function sameType(node: WithInputs): ElementType {
  const { type } = inputOf(node, 0);
  const other = presentInputs(node).find((input) => input.type !== type);
  if (other) throw new TypeError(`inputs of types ${type} and ${other.type} ("${other.name}") cannot be mixed`);
  return type;
}

export const broadcastShape = (node: WithInputs): Shape =>
  presentInputs(node)
    .map((input) => input.shape)
    .reduce((a, b) => broadcast(a, b));

/** @throws RangeError when both dimensions are static and differ. */
export function agree(a: Dim | undefined, b: Dim | undefined, what: string): void {
  if (typeof a === 'number' && typeof b === 'number' && a !== b) throw new RangeError(`${what}: ${a} and ${b} differ`);
}

/** The output of an operator that changes neither type nor shape. */
export const sameAsInput = (node: NodeContext): Inferred => {
  const { type, shape } = inputOf(node, 0);
  return { type, shape };
};
