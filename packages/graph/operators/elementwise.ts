import { type ElementType, elementTypeOf } from '../tensor.ts';
import {
  broadcastShape,
  inputOf,
  intAttribute,
  type NodeContext,
  type Rule,
  type Rules,
  sameAsInput,
  sameType,
  stringAttribute,
} from './context.ts';

const elementwise = (node: NodeContext) => ({ type: sameType(node), shape: broadcastShape(node) });
const comparison: Rule = (node) => ({ ...elementwise(node), type: 'bool' });

/** Rejects what the runtime would reject later, with less to say. */
function requireType(node: NodeContext, index: number, types: readonly ElementType[]): void {
  const { type } = inputOf(node, index);
  if (!types.includes(type)) throw new TypeError(`input ${index}: expected ${types.join(' or ')}, got ${type}`);
}

const logical: Rule = (node) => {
  requireType(node, 0, ['bool']);
  return elementwise(node);
};

const onFloats: Rule = (node) => {
  requireType(node, 0, ['float32', 'float64']);
  return sameAsInput(node);
};

const pow: Rule = (node) => ({ type: inputOf(node, 0).type, shape: broadcastShape(node) });

const gelu: Rule = (node) => {
  const approximate = stringAttribute(node, 'approximate', 'none');
  if (approximate !== 'none' && approximate !== 'tanh') {
    throw new TypeError(`attribute approximate: expected none or tanh, got ${approximate}`);
  }
  return onFloats(node, 1);
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

const clip: Rule = (node) => ({ type: sameType(node), shape: inputOf(node, 0).shape });

/** Integers times a scale, less a zero point of their own type: one of each, or one per slice of `axis`. */
const dequantizeLinear: Rule = (node) => ({ type: inputOf(node, 1).type, shape: inputOf(node, 0).shape });

export const ELEMENTWISE: Rules = {
  Add: elementwise,
  Sub: elementwise,
  Mul: elementwise,
  Div: elementwise,
  Mod: elementwise,
  Pow: pow,
  Max: elementwise,
  Min: elementwise,
  And: logical,
  Or: logical,
  Xor: logical,
  Not: logical,
  BitShift: elementwise,
  BitwiseAnd: elementwise,
  BitwiseXor: elementwise,
  Less: comparison,
  LessOrEqual: comparison,
  Greater: comparison,
  GreaterOrEqual: comparison,
  Equal: comparison,
  IsNaN: comparison,
  Neg: sameAsInput,
  Abs: sameAsInput,
  Sign: sameAsInput,
  Floor: onFloats,
  Ceil: onFloats,
  Round: onFloats,
  Sqrt: onFloats,
  Reciprocal: onFloats,
  Exp: onFloats,
  Log: onFloats,
  Sin: onFloats,
  Cos: onFloats,
  Erf: onFloats,
  Gelu: gelu,
  Softplus: onFloats,
  Relu: sameAsInput,
  Tanh: onFloats,
  Sigmoid: onFloats,
  Identity: sameAsInput,
  Clip: clip,
  Where: where,
  Cast: cast,
  DequantizeLinear: dequantizeLinear,
};
