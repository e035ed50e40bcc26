import { cast } from './emit.ts';
import { GraphError } from './errors.ts';
import { Graph, type GraphNode, type Value } from './graph.ts';
import { intAttribute } from './operators/context.ts';
import { normalizeAxis } from './shape.ts';
import { copyValues, type Rewrite } from './splice.ts';
import { elementCount, type TensorValue, tensor } from './tensor.ts';

/** Largest magnitude of a symmetric int8 number; −128 has no counterpart. */
const INT8_MAX = 127;

/** Weights below this are 0; their scale would be too small for the precision of float32. */
const SMALLEST = 1e-30;

/** Integers with the dims of a weight, and a scale for each slice of `axis`: weight ≈ integer × scale. */
export type QuantizedWeight = { readonly integers: TensorValue; readonly scales: TensorValue };

/**
 * Symmetric int8 with a scale for each slice along `axis`, the largest magnitude of the slice over 127. No number moves
 * by more than half its scale, except that those below 1e-30 become 0.
 */
export function quantizeInt8({ dims, data }: TensorValue, axis: number): QuantizedWeight {
  const slices = dims[axis] as number;
  const inner = elementCount(dims.slice(axis + 1));
  const sliceOf = (index: number): number => Math.floor(index / inner) % slices;
  const values = data as Float32Array;
  const scales = new Float32Array(slices);
  for (const [i, value] of values.entries()) {
    const slice = sliceOf(i);
    scales[slice] = Math.max(scales[slice] as number, Math.abs(value));
  }
  // A slice of zeros takes any scale.
  for (const [slice, largest] of scales.entries()) scales[slice] = largest < SMALLEST ? 1 : largest / INT8_MAX;
  const integers = Int8Array.from(values, (value, i) => Math.round(value / (scales[sliceOf(i)] as number)));
  return { integers: tensor('int8', dims, integers), scales: tensor('float32', [slices], scales) };
}

/** Whether a node looks rows of a matrix up. */
const isLookUp = ({ operator, attributes, inputs: [table] }: GraphNode): boolean =>
  operator === 'Gather' && table?.shape.length === 2 && normalizeAxis(Number(attributes.axis ?? 0), 2) === 0;

type Use = { readonly node: GraphNode; readonly input: number };

const usesOf = (graph: Graph, name: string): Use[] =>
  graph.nodes.flatMap((node) =>
    node.inputs.flatMap((value, input): Use[] => (value?.name === name ? [{ node, input }] : [])),
  );

/** The axis of a weight along which a node gives separate outputs. */
function outputAxis({ node, input }: Use, rank: number): number {
  if (node.operator === 'MatMul') return input === 1 ? rank - 1 : rank - 2;
  if (node.operator !== 'Gemm') return 0;
  const transposed = intAttribute(node, input === 1 ? 'transB' : 'transA', 0) === 1;
  return (input === 1) === transposed ? 0 : 1;
}

/** Puts one weight into `target` as integers; gives what stands for the weight, and for each row looked up in it. */
function putWeight(target: Graph, name: string, weight: TensorValue, uses: readonly Use[]) {
  const product = uses.find(({ node }) => !isLookUp(node));
  const axis = product && !uses.some(({ node }) => isLookUp(node)) ? outputAxis(product, weight.dims.length) : 0;
  const { integers, scales } = quantizeInt8(weight, axis);
  const stored = target.constant(integers, `${name}.int8`);
  return {
    whole: () => target.node('DequantizeLinear', [stored, target.constant(scales, `${name}.scales`)], { axis }),
    /** Each row as the Gather would give it. */
    rows: () => {
      const column = target.constant(tensor('float32', [scales.data.length, 1], scales.data), `${name}.row_scales`);
      return (indices: Value): Value => {
        const [rows, factors] = [stored, column].map((table) => target.node('Gather', [table, indices], { axis: 0 }));
        return target.node('Mul', [cast(target, rows as Value, 'float32'), factors as Value]);
      };
    },
  };
}

/**
 * The same graph with the named float32 weights stored as int8, a quarter of the size, in standard operators: products
 * take them through DequantizeLinear with a scale for each output channel, and tables are gathered as int8 with a scale
 * for each row, so that only the rows of a text become float32.
 * @param names of constants with at least two axes.
 * @throws GraphError for a name that is no such constant, or that nothing uses.
 */
export function quantizeWeights(graph: Graph, names: readonly string[]): Graph {
  const target = new Graph(graph.name);
  const inputs = graph.inputs.map(({ name, type, shape }) => [name, target.input(name, type, shape)] as const);
  const bindings: Record<string, Value> = Object.fromEntries(inputs);
  const rewrites = new Map<string, Rewrite>();
  for (const name of names) {
    const weight = graph.constants.find(({ value }) => value.name === name)?.tensor;
    const uses = usesOf(graph, name);
    if (weight?.type !== 'float32' || weight.dims.length < 2 || uses.length === 0) {
      const given = weight ? `${weight.type} [${weight.dims}] that ${uses.length} nodes use` : 'no constant';
      throw new GraphError(`weight "${name}" of model "${graph.name}": expected a float32 matrix in use, got ${given}`);
    }
    const stored = putWeight(target, name, weight, uses);
    const lookUps = uses.filter(({ node }) => isLookUp(node));
    if (lookUps.length < uses.length) bindings[name] = stored.whole();
    if (lookUps.length === 0) continue;
    const rows = stored.rows();
    for (const { node } of lookUps) {
      rewrites.set((node.outputs[0] as Value).name, {
        inputs: [node.inputs[1] as Value],
        emit: (_target, [indices]) => rows(indices as Value),
      });
    }
  }
  const wanted = graph.outputs.map(({ value }) => value);
  const copies = copyValues(target, graph, bindings, wanted, rewrites);
  for (const [index, { name }] of graph.outputs.entries()) target.output(name, copies[index] as Value);
  return target;
}
