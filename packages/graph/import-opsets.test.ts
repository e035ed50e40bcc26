import { AttributeProto_AttributeType as AttributeType, TensorProto_DataType as DataType } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { NodeError } from './errors.ts';
import { wave } from './gradient-cases.ts';
import { type Initializer, modelOf, type Node, PRODUCT, WEIGHT } from './import/small-models.ts';
import { importModel } from './import.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { tensor, vectorOf } from './tensor.ts';

/** Two axes more in front, as Unsqueeze takes them since set 13. */
const AXES: Initializer = { name: 'axes', dims: [2n], dataType: DataType.INT64, int64Data: [0n, 1n] };

describe('what other operator sets spell differently is computed as the file does', () => {
  const feeds = { x: toRuntime(vectorOf('float32', [1, -2, 3, 0.5, 2, -1], [3, 2])) };
  const ints = (name: string, values: readonly number[]) => ({
    name,
    type: AttributeType.INTS,
    ints: values.map(BigInt),
  });
  const float = (name: string, f: number) => ({ name, type: AttributeType.FLOAT, f });
  const node = (opType: string, input: string[], output: string[], attribute: Node['attribute'] = []): Node => ({
    opType,
    name: opType,
    input,
    output,
    attribute,
  });
  const floats = (name: string, dims: readonly number[], phase: number): Initializer => ({
    name,
    dims: dims.map(BigInt),
    dataType: DataType.FLOAT,
    floatData: [...(wave(dims, phase).data as Float64Array)],
  });
  const half: Initializer = {
    name: 'weight',
    dims: [2n, 2n],
    dataType: DataType.FLOAT16,
    int32Data: [0x3c00, 0xc000, 0x3555, 0x0001],
  };

  const cases: readonly (readonly [what: string, opset: number, nodes: Node[], constants?: Initializer[]])[] = [
    [
      'axes of Unsqueeze, Squeeze and reductions',
      11,
      [
        node('Unsqueeze', ['h'], ['u'], [ints('axes', [0])]),
        node('Squeeze', ['u'], ['s'], [ints('axes', [0])]),
        node('ReduceSum', ['s'], ['r'], [ints('axes', [1])]),
        node('ReduceMean', ['s'], ['q'], [ints('axes', [-1])]),
        node('Add', ['r', 'q'], ['y']),
      ],
    ],
    [
      'softmax over several axes',
      12,
      [node('Unsqueeze', ['h'], ['u'], [ints('axes', [0])]), node('Softmax', ['u'], ['y'])],
    ],
    [
      'sizes of Split, and a Dropout',
      12,
      [
        node('Split', ['h'], ['a', 'b'], [ints('split', [1, 1]), { name: 'axis', type: AttributeType.INT, i: 1n }]),
        node('Dropout', ['a'], ['d', '']),
        node('Sub', ['d', 'b'], ['y']),
      ],
    ],
    [
      'a Split without sizes',
      13,
      [
        node('Split', ['h'], ['a', 'b'], [{ name: 'axis', type: AttributeType.INT, i: 1n }]),
        node('Mul', ['a', 'b'], ['y']),
      ],
    ],
    [
      'RMSNormalization',
      23,
      [node('RMSNormalization', ['h', 'scale'], ['y'], [float('epsilon', 0.1)])],
      [floats('scale', [2], 3)],
    ],
    [
      'RotaryEmbedding',
      23,
      [node('Unsqueeze', ['h', 'axes'], ['heads']), node('RotaryEmbedding', ['heads', 'cos', 'sin'], ['y'])],
      [AXES, floats('cos', [1, 3, 1], 1), floats('sin', [1, 3, 1], 2)],
    ],
    [
      'Attention with scores added',
      23,
      [
        node('Unsqueeze', ['h', 'axes'], ['heads']),
        node('Attention', ['heads', 'heads', 'heads', 'mask'], ['y'], [float('scale', 0.3)]),
      ],
      [AXES, floats('mask', [1, 1, 3, 3], 1)],
    ],
    [
      'Attention with keys masked',
      24,
      [
        node('Unsqueeze', ['h', 'axes'], ['heads']),
        node('Greater', ['mask', 'cos'], ['seen']),
        node('Attention', ['heads', 'heads', 'heads', 'seen'], ['y']),
      ],
      [AXES, floats('mask', [1, 1, 3, 3], 1), floats('cos', [1], -1)],
    ],
  ];
  for (const [what, opset, nodes, constants = []] of cases) {
    it(`${what} (operator set ${opset})`, async () => {
      const bytes = modelOf({
        nodes: [{ ...PRODUCT, output: ['h'] }, ...nodes],
        initializers: [WEIGHT, ...constants],
        opsets: [{ domain: '', version: BigInt(opset) }],
      });
      for (const dims of [undefined, { batch: 3 }]) {
        const { graph } = await importModel(bytes, dims && { dims });
        const [before, after] = await Promise.all([
          openSession(bytes, { threads: 1 }),
          openSession(serialize(graph), { threads: 1 }),
        ]);
        const [expected, actual] = [await before.run(feeds), await after.run(feeds)];
        expect(actual.y?.dims).toEqual(expected.y?.dims);
        const [computed, given] = [actual, expected].map(({ y }) => y?.data as Float32Array) as [
          Float32Array,
          Float32Array,
        ];
        for (const [i, value] of computed.entries()) expect(value).toBeCloseTo(given[i] as number, 6);
      }
    });
  }

  it('parts of later operators that are not read are refused', async () => {
    const heads = [{ ...PRODUCT, output: ['h'] }, node('Unsqueeze', ['h', 'axes'], ['heads'])];
    const refused = (last: Node) =>
      expect(
        importModel(
          modelOf({ nodes: [...heads, last], initializers: [WEIGHT, AXES], opsets: [{ domain: '', version: 23n }] }),
        ),
      ).rejects;
    const causal = { name: 'is_causal', type: AttributeType.INT, i: 1n };
    await refused(node('Attention', ['heads', 'heads', 'heads'], ['y'], [causal])).toThrow(
      'causal Attention is not supported',
    );
    await refused(node('Attention', ['h', 'h', 'h'], ['y'])).toThrow('Attention without an axis of heads');
    await refused(node('Attention', ['heads', 'heads', 'heads'], ['y', 'key'])).toThrow('Attention with a cache');
  });

  it('what the newest sets add for types of 8 and 16 bits is left out where it says nothing, and else refused', async () => {
    const integer = (name: string, i: number) => ({ name, type: AttributeType.INT, i: BigInt(i) });
    const opsets = [{ domain: '', version: 28n }];
    const toDouble = node('Cast', ['h'], ['y'], [integer('to', DataType.DOUBLE), integer('saturate', 1)]);
    const { graph } = await importModel(modelOf({ nodes: [{ ...PRODUCT, output: ['h'] }, toDouble], opsets }));
    expect(graph.nodes.at(-1)?.attributes).toEqual({ to: DataType.DOUBLE });
    const blocks = node('DequantizeLinear', ['h', 'weight'], ['y'], [integer('block_size', 2)]);
    await expect(importModel(modelOf({ nodes: [{ ...PRODUCT, output: ['h'] }, blocks], opsets }))).rejects.toThrow(
      'DequantizeLinear node "DequantizeLinear" of model "m": DequantizeLinear by blocks',
    );
  });

  it('float16 becomes float32', async () => {
    const { parameters } = await importModel(modelOf({ initializers: [half] }));
    expect(parameters[0]?.tensor).toEqual(tensor('float32', [2, 2], Float32Array.of(1, -2, 0.333251953125, 2 ** -24)));
  });

  it('a mask of Dropout that something uses is refused', async () => {
    const nodes = [{ ...PRODUCT, output: ['h'] }, node('Dropout', ['h'], ['d', 'mask']), node('Cast', ['mask'], ['y'])];
    await expect(importModel(modelOf({ nodes }))).rejects.toThrow(NodeError);
  });
});
