import { cast, scalarLike, sumTo } from '../emit.ts';
import type { Graph, GraphNode, Value } from '../graph.ts';
import { inputOf, presentInputs } from '../operators/context.ts';
import { firstOutput, type GradientRule, type GradientRules } from './rule.ts';

/** A rule for y = f(x) from its derivative, which may be written in x and y. */
const unary =
  (derivative: (graph: Graph, x: Value, y: Value, upstream: Value, node: GraphNode) => Value): GradientRule =>
  (graph, node, upstream) => [() => derivative(graph, inputOf(node, 0), firstOutput(node), upstream, node)];

const times = (graph: Graph, value: Value, factor: number): Value =>
  graph.node('Mul', [value, scalarLike(graph, value, factor)]);
const plus = (graph: Graph, value: Value, term: number): Value =>
  graph.node('Add', [value, scalarLike(graph, value, term)]);

/** `value` where the condition holds, else 0. */
const masked = (graph: Graph, condition: Value, value: Value): Value =>
  graph.node('Where', [condition, value, scalarLike(graph, value, 0)]);

const add: GradientRule = (graph, node, upstream) => [
  () => sumTo(graph, upstream, inputOf(node, 0).shape),
  () => sumTo(graph, upstream, inputOf(node, 1).shape),
];

const sub: GradientRule = (graph, node, upstream) => [
  () => sumTo(graph, upstream, inputOf(node, 0).shape),
  () => graph.node('Neg', [sumTo(graph, upstream, inputOf(node, 1).shape)]),
];

const mul: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  return [
    () => sumTo(graph, graph.node('Mul', [upstream, b]), a.shape),
    () => sumTo(graph, graph.node('Mul', [upstream, a]), b.shape),
  ];
};

/** d(a/b)/db = −(a/b)/b */
const div: GradientRule = (graph, node, upstream) => {
  const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
  return [
    () => sumTo(graph, graph.node('Div', [upstream, b]), a.shape),
    () => {
      const ratio = graph.node('Div', [graph.node('Mul', [upstream, firstOutput(node)]), b]);
      return graph.node('Neg', [sumTo(graph, ratio, b.shape)]);
    },
  ];
};

/** d(xᵖ)/dx = p·xᵖ⁻¹, d(xᵖ)/dp = xᵖ·ln x */
const pow: GradientRule = (graph, node, upstream) => {
  const [base, exponent] = [inputOf(node, 0), inputOf(node, 1)];
  const constant = graph.constantOf(exponent);
  const square = constant?.data.length === 1 && Number(constant.data[0]) === 2;
  return [
    () => {
      if (square) return times(graph, graph.node('Mul', [upstream, base]), 2);
      const power = cast(graph, exponent, base.type);
      const slope = graph.node('Mul', [power, graph.node('Pow', [base, plus(graph, power, -1)])]);
      return sumTo(graph, graph.node('Mul', [upstream, slope]), base.shape);
    },
    () => {
      const slope = graph.node('Mul', [firstOutput(node), graph.node('Log', [base])]);
      return sumTo(graph, graph.node('Mul', [upstream, slope]), exponent.shape);
    },
  ];
};

/** The gradient goes to the operand that the result is; operands that tie share it. */
const extremum: GradientRule = (graph, node, upstream) => {
  const operands = presentInputs(node);
  const isResult = (operand: Value): Value =>
    cast(graph, graph.node('Equal', [operand, firstOutput(node)]), upstream.type);
  const share = (): Value => {
    const ties = operands.map(isResult).reduce((a, b) => graph.node('Add', [a, b]));
    return graph.node('Div', [upstream, ties]);
  };
  return operands.map((operand) => () => sumTo(graph, graph.node('Mul', [share(), isResult(operand)]), operand.shape));
};

/** Within the bounds, the upstream gradient; the bounds themselves are settings. */
const clip: GradientRule = (graph, node, upstream) => [
  () => {
    const [x, low, high] = [inputOf(node, 0), node.inputs[1], node.inputs[2]];
    const above = low && graph.node('GreaterOrEqual', [x, low]);
    const below = high && graph.node('LessOrEqual', [x, high]);
    const within = above && below ? graph.node('And', [above, below]) : (above ?? below);
    return within ? masked(graph, within, upstream) : upstream;
  },
  null,
  null,
];

const where: GradientRule = (graph, node, upstream) => {
  const [condition, yes, no] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
  return [
    null,
    () => sumTo(graph, masked(graph, condition, upstream), yes.shape),
    () => sumTo(graph, graph.node('Where', [condition, scalarLike(graph, upstream, 0), upstream]), no.shape),
  ];
};

/** 2/√π·exp(−x²) */
const erf = (graph: Graph, x: Value, upstream: Value): Value => {
  const bell = graph.node('Exp', [graph.node('Neg', [graph.node('Mul', [x, x])])]);
  return graph.node('Mul', [upstream, times(graph, bell, 2 / Math.sqrt(Math.PI))]);
};

/**
 * y = x·Φ(x), so y′ = Φ(x) + x·φ(x), which is ½·(1 + erf z + 2x·φ(x)) with z = x/√2 and 2φ(x) = exp(½·ln(2/π) − z²).
 * Hendrycks, Gimpel 2016, arXiv 1606.08415.
 */
function geluErf(graph: Graph, x: Value, upstream: Value): Value {
  const z = times(graph, x, Math.SQRT1_2);
  const exponent = graph.node('Sub', [scalarLike(graph, z, Math.log(2 / Math.PI) / 2), graph.node('Mul', [z, z])]);
  const bell = graph.node('Mul', [x, graph.node('Exp', [exponent])]);
  const slope = graph.node('Add', [plus(graph, graph.node('Erf', [z]), 1), bell]);
  return graph.node('Mul', [times(graph, upstream, 0.5), slope]);
}

/** y = ½·x·(1 + t) with t = tanh(k·(x + c·x³)), so y′ = ½·(1 + t) + ½·x·(1 − t²)·k·(1 + 3c·x²). */
function geluTanh(graph: Graph, x: Value, upstream: Value): Value {
  const [k, c] = [Math.sqrt(2 / Math.PI), 0.044715];
  const squared = graph.node('Mul', [x, x]);
  const inner = graph.node('Mul', [x, plus(graph, times(graph, squared, k * c), k)]);
  const t = graph.node('Tanh', [inner]);
  const steepness = graph.node('Mul', [x, plus(graph, times(graph, squared, 3 * k * c), k)]);
  const falling = graph.node('Sub', [scalarLike(graph, t, 1), graph.node('Mul', [t, t])]);
  const slope = graph.node('Add', [plus(graph, t, 1), graph.node('Mul', [falling, steepness])]);
  return graph.node('Mul', [times(graph, upstream, 0.5), slope]);
}

export const ELEMENTWISE_GRADIENTS: GradientRules = {
  Add: add,
  Sub: sub,
  Mul: mul,
  Div: div,
  Pow: pow,
  Max: extremum,
  Min: extremum,
  Clip: clip,
  Where: where,
  Neg: unary((graph, _x, _y, upstream) => graph.node('Neg', [upstream])),
  Abs: unary((graph, x, _y, upstream) => graph.node('Mul', [upstream, graph.node('Sign', [x])])),
  Identity: unary((_graph, _x, _y, upstream) => upstream),
  Cast: unary((graph, x, _y, upstream) => cast(graph, upstream, x.type)),
  Exp: unary((graph, _x, y, upstream) => graph.node('Mul', [upstream, y])),
  Log: unary((graph, x, _y, upstream) => graph.node('Div', [upstream, x])),
  Sqrt: unary((graph, _x, y, upstream) => graph.node('Div', [upstream, times(graph, y, 2)])),
  Reciprocal: unary((graph, _x, y, upstream) =>
    graph.node('Neg', [graph.node('Mul', [upstream, graph.node('Mul', [y, y])])]),
  ),
  Sin: unary((graph, x, _y, upstream) => graph.node('Mul', [upstream, graph.node('Cos', [x])])),
  Cos: unary((graph, x, _y, upstream) => graph.node('Neg', [graph.node('Mul', [upstream, graph.node('Sin', [x])])])),
  Erf: unary((graph, x, _y, upstream) => erf(graph, x, upstream)),
  Gelu: unary((graph, x, _y, upstream, node) =>
    node.attributes.approximate === 'tanh' ? geluTanh(graph, x, upstream) : geluErf(graph, x, upstream),
  ),
  Softplus: unary((graph, x, _y, upstream) => graph.node('Mul', [upstream, graph.node('Sigmoid', [x])])),
  Relu: unary((graph, x, _y, upstream) => masked(graph, graph.node('Greater', [x, scalarLike(graph, x, 0)]), upstream)),
  Tanh: unary((graph, _x, y, upstream) =>
    graph.node('Mul', [upstream, graph.node('Sub', [scalarLike(graph, y, 1), graph.node('Mul', [y, y])])]),
  ),
  Sigmoid: unary((graph, _x, y, upstream) =>
    graph.node('Mul', [upstream, graph.node('Mul', [y, graph.node('Sub', [scalarLike(graph, y, 1), y])])]),
  ),
};
