import { cast } from './emit.ts';
import { GraphError } from './errors.ts';
import { Graph, type GraphNode, type Value } from './graph.ts';
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
  const values = data as Float32Array;
  const scales = new Float32Array(slices);
  const integers = new Int8Array(values.length);
  // Each run of `inner` numbers belongs to one slice.
  for (let start = 0, run = 0; start < values.length; start += inner, run++) {
    let largest = scales[run % slices] as number;
    for (let i = start; i < start + inner; i++) largest = Math.max(largest, Math.abs(values[i] as number));
    scales[run % slices] = largest;
  }
  // A slice of zeros takes any scale.
  for (let slice = 0; slice < slices; slice++) {
    const largest = scales[slice] as number;
    scales[slice] = largest < SMALLEST ? 1 : largest / INT8_MAX;
  }
  for (let start = 0, run = 0; start < values.length; start += inner, run++) {
    const scale = scales[run % slices] as number;
    for (let i = start; i < start + inner; i++) integers[i] = Math.round((values[i] as number) / scale);
  }
  return { integers: tensor('int8', dims, integers), scales: tensor('float32', [slices], scales) };
}

/** Whether a node looks rows of a matrix up. */
const isLookUp = ({ operator, attributes, inputs: [table] }: GraphNode): boolean =>
  operator === 'Gather' && table?.shape.length === 2 && normalizeAxis(Number(attributes.axis ?? 0), 2) === 0;

/** Σ (weight − integer × scale)² */
function squaredError({ data }: TensorValue, { integers, scales }: QuantizedWeight, axis: number): number {
  const inner = elementCount(integers.dims.slice(axis + 1));
  let error = 0;
  for (let start = 0, run = 0; start < data.length; start += inner, run++) {
    const scale = scales.data[run % scales.data.length] as number;
    for (let i = start; i < start + inner; i++) {
      error += ((data[i] as number) - (integers.data[i] as number) * scale) ** 2;
    }
  }
  return error;
}

/** Scales by rows or by columns, whichever lose less: a few numbers far out spoil the scale of all that share it. */
function bestOf(weight: TensorValue): QuantizedWeight & { readonly axis: 0 | 1 } {
  const [rows, columns] = [quantizeInt8(weight, 0), quantizeInt8(weight, 1)];
  return squaredError(weight, rows, 0) < squaredError(weight, columns, 1)
    ? { ...rows, axis: 0 }
    : { ...columns, axis: 1 };
}

/** Puts one weight into `target` as integers; gives what stands for all of it, and for rows looked up in it. */
function putWeight(target: Graph, name: string, weight: TensorValue) {
  const { integers, scales, axis } = bestOf(weight);
  const stored = target.constant(integers, `${name}.int8`);
  return {
    whole: () => target.node('DequantizeLinear', [stored, target.constant(scales, `${name}.scales`)], { axis }),
    rows: () => {
      const dims = axis === 0 ? [scales.data.length, 1] : scales.dims;
      const factors = target.constant(tensor('float32', dims, scales.data), `${name}.row_scales`);
      return (indices: Value): Value => {
        const rows = target.node('Gather', [stored, indices], { axis: 0 });
        if (axis === 1) return target.node('DequantizeLinear', [rows, factors], { axis: -1 });
        return target.node('Mul', [
          cast(target, rows, 'float32'),
          target.node('Gather', [factors, indices], { axis: 0 }),
        ]);
      };
    },
  };
}

/**
 * The same graph with the named float32 weights stored as int8, a quarter of the size, in standard operators: products
 * take them through DequantizeLinear, and tables are gathered as int8 first, so that only the rows of a text become
 * float32. Each weight has a scale for each of its rows, or for each of its columns, whichever loses less.
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
    const uses = graph.nodes.filter(({ inputs: operands }) => operands.some((operand) => operand?.name === name));
    if (weight?.type !== 'float32' || weight.dims.length < 2 || uses.length === 0) {
      const given = weight ? `${weight.type} [${weight.dims}] that ${uses.length} nodes use` : 'no constant';
      throw new GraphError(`weight "${name}" of model "${graph.name}": expected a float32 matrix in use, got ${given}`);
    }
    const stored = putWeight(target, name, weight);
    const lookUps = uses.filter(isLookUp);
    if (lookUps.length < uses.length) bindings[name] = stored.whole();
    if (lookUps.length === 0) continue;
    const rows = stored.rows();
    for (const node of lookUps) {
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
