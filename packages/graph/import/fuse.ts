import type { Graph, GraphNode, Value } from '../graph.ts';
import { reducedAxes } from '../operators/along-axes.ts';
import { intAttribute } from '../operators/context.ts';
import type { Rewrite } from '../splice.ts';

/** How far a constant of a file, which may be float32, can be from the number that it stands for. */
const PRECISION = 1e-4;

type Pair = readonly [Value, Value];

/** Finds what computes the values of a graph. */
class Producers {
  readonly #graph: Graph;
  readonly #nodes = new Map<string, GraphNode>();

  constructor(graph: Graph) {
    this.#graph = graph;
    for (const node of graph.nodes) for (const { name } of node.outputs) this.#nodes.set(name, node);
  }

  /** The operands of the node that gives a value, if it is of this operator. */
  operands(value: Value | undefined, operator: string): Pair | undefined {
    const node = value && this.#nodes.get(value.name);
    return node?.operator === operator ? (node.inputs as readonly Value[] as Pair) : undefined;
  }

  /** The operands of a commutative node in both orders; none if the value comes from another operator. */
  eitherWay(value: Value | undefined, operator: string): readonly Pair[] {
    const pair = this.operands(value, operator);
    return pair ? [pair, [pair[1], pair[0]]] : [];
  }

  number(value: Value): number | undefined {
    const tensor = this.#graph.constantOf(value);
    return tensor?.data.length === 1 ? Number(tensor.data[0]) : undefined;
  }

  is(value: Value, expected: number): boolean {
    const number = this.number(value);
    return number !== undefined && Math.abs(number - expected) < PRECISION;
  }

  /** What a mean over the last axis, which keeps that axis, is of. */
  meanOf(value: Value): Value | undefined {
    const node = this.#nodes.get(value.name);
    if (node?.operator !== 'ReduceMean' || intAttribute(node, 'keepdims', 1) !== 1) return undefined;
    const axes = reducedAxes(this.#graph.contextOf(node));
    const [of] = node.inputs as readonly Value[];
    return axes.join() === String((of?.shape.length ?? 0) - 1) ? of : undefined;
  }
}

/** Whether a value is 1 + erf(x/√2), twice the normal distribution of x. */
const isTwiceNormal = (made: Producers, value: Value, x: Value): boolean =>
  made.eitherWay(value, 'Add').some(([erf, one]) => {
    const z = made.operands(erf, 'Erf')?.[0];
    const divided = made.operands(z, 'Div');
    const isScaled =
      (divided?.[0] === x && made.is(divided[1], Math.SQRT2)) ||
      made.eitherWay(z, 'Mul').some(([of, factor]) => of === x && made.is(factor, Math.SQRT1_2));
    return made.is(one, 1) && isScaled;
  });

/** The x of x·(1 + erf(x/√2))·½, whichever two of the factors come first. */
function geluOf(made: Producers, y: Value): Value | undefined {
  for (const [a, b] of made.eitherWay(y, 'Mul')) {
    for (const [c, d] of made.eitherWay(a, 'Mul')) {
      for (const [x, normal, half] of [
        [c, d, b],
        [c, b, d],
        [b, c, d],
      ] as const) {
        if (made.is(half, 0.5) && isTwiceNormal(made, normal, x)) return x;
      }
    }
  }
  return undefined;
}

type Normalization = { readonly x: Value; readonly scale: Value; readonly epsilon: number };

/** (x − mean)/√(variance + ε)·scale, spelled out as exporters did before LayerNormalization was an operator. */
function normalizationOf(made: Producers, y: Value | undefined): Normalization | undefined {
  for (const [normal, scale] of made.eitherWay(y, 'Mul')) {
    const [centred, deviation] = made.operands(normal, 'Div') ?? [];
    const [x, mean] = made.operands(centred, 'Sub') ?? [];
    if (!centred || !x || !mean || made.meanOf(mean) !== x) continue;
    for (const [variance, added] of made.eitherWay(made.operands(deviation, 'Sqrt')?.[0], 'Add')) {
      const squared = made.meanOf(variance);
      const power = made.operands(squared, 'Pow') ?? made.operands(squared, 'Mul');
      const isSquare = power?.[0] === centred && (power[1] === centred || made.is(power[1], 2));
      const epsilon = made.number(added);
      if (isSquare && epsilon !== undefined && isVectorFor(scale, x)) return { x, scale, epsilon };
    }
  }
  return undefined;
}

const isVectorFor = (vector: Value, x: Value): boolean =>
  vector.shape.length === 1 && vector.shape[0] === x.shape.at(-1) && typeof vector.shape[0] === 'number';

/**
 * The parts of a graph that one operator says as well as the many that a file spells: Gelu, and LayerNormalization with
 * or without a bias. One node takes one pass over its data where these take five to nine, and keeps nothing between
 * for the gradient. By the names of the values that the operators give.
 */
export function fusions(graph: Graph): ReadonlyMap<string, Rewrite> {
  const made = new Producers(graph);
  const found = new Map<string, Rewrite>();
  const normalization = ({ x, scale, epsilon }: Normalization, bias: readonly Value[]): Rewrite => ({
    inputs: [x, scale, ...bias],
    emit: (target, inputs) => target.node('LayerNormalization', inputs, { axis: -1, epsilon: { float: epsilon } }),
  });
  for (const { outputs } of graph.nodes) {
    const y = outputs[0] as Value;
    const x = geluOf(made, y);
    if (x) found.set(y.name, { inputs: [x], emit: (target, inputs) => target.node('Gelu', inputs) });
    const plain = normalizationOf(made, y);
    if (plain) found.set(y.name, normalization(plain, []));
    for (const [product, bias] of made.eitherWay(y, 'Add')) {
      const scaled = normalizationOf(made, product);
      if (scaled && isVectorFor(bias, scaled.x)) found.set(y.name, normalization(scaled, [bias]));
    }
  }
  return found;
}
