import { mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  GraphProtoSchema,
} from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphError } from './errors.ts';
import { Graph } from './graph.ts';
import { type Initializer, modelOf, type Node, type Parts, PRODUCT, WEIGHT } from './import/small-models.ts';
import { importModel } from './import.ts';
import { serialize } from './serialize.ts';
import { tensor } from './tensor.ts';

const external = (location: string, length = 16): Initializer => ({
  name: 'weight',
  dims: [2n, 2n],
  dataType: DataType.FLOAT,
  dataLocation: DataLocation.EXTERNAL,
  externalData: [
    { key: 'location', value: location },
    { key: 'length', value: String(length) },
  ],
});

const subgraph: Node = {
  opType: 'If',
  name: 'branch',
  input: ['x'],
  output: ['y'],
  attribute: [{ name: 'then_branch', type: AttributeType.GRAPH, g: create(GraphProtoSchema, { name: 'then' }) }],
};

/** What is wrong with a model, and what the error says. */
const REFUSED: readonly (readonly [what: string, message: string, parts: Parts])[] = [
  [
    'an operator of another domain',
    'FusedMatMul node "fused" of model "m": the operator domain "com.microsoft"',
    {
      nodes: [{ ...PRODUCT, opType: 'FusedMatMul', name: 'fused', domain: 'com.microsoft' }],
      opsets: [
        { domain: '', version: 17n },
        { domain: 'com.microsoft', version: 1n },
      ],
    },
  ],
  [
    'an operator of a domain that it does not declare',
    'the operator domain "sneaky" is not supported',
    {
      nodes: [{ ...PRODUCT, domain: 'sneaky' }],
    },
  ],
  [
    'an operator that is not known',
    'Frobnicate node "f" of model "m": unknown operator',
    {
      nodes: [{ opType: 'Frobnicate', name: 'f', input: ['x', 'weight'], output: ['y'] }],
    },
  ],
  ['functions of its own', 'defines functions of its own', { functions: true }],
  ['an operator set that is too old', 'is of operator set 9; 11 to 28', { opsets: [{ domain: '', version: 9n }] }],
  ['an operator set that is too new', 'is of operator set 99', { opsets: [{ domain: '', version: 99n }] }],
  ['no operator set', 'is of operator set 0', { opsets: [] }],
  ['a subgraph', 'If node "branch" of model "m": attribute then_branch holds a subgraph', { nodes: [subgraph] }],
  [
    'a cycle',
    'MatMul node "product" of model "m": input "z" comes from a node that is not before this one',
    {
      nodes: [
        { ...PRODUCT, input: ['z', 'weight'] },
        { opType: 'Relu', name: 'relu', input: ['y'], output: ['z'] },
      ],
    },
  ],
  [
    'a name that nothing has',
    'input "nothing" comes from no node, input or initializer',
    {
      nodes: [{ ...PRODUCT, input: ['nothing', 'weight'] }],
    },
  ],
  ['two nodes that give one value', 'two nodes give the value "y"', { nodes: [PRODUCT, PRODUCT] }],
  ['an output that comes from nowhere', 'output "y" of model "m" comes from no node', { nodes: [] }],
  ['two initializers of one name', 'already has a value "weight"', { initializers: [WEIGHT, WEIGHT] }],
  [
    'shapes that do not fit',
    'inner dimensions of [batch,2] and [4,1]: 2 and 4 differ',
    {
      initializers: [{ ...WEIGHT, dims: [4n, 1n] }],
    },
  ],
  [
    'no weights',
    'model "m" has no weights',
    {
      nodes: [{ opType: 'Relu', name: 'relu', input: ['x'], output: ['y'] }],
      initializers: [],
    },
  ],
  [
    'weights behind an operator without a gradient',
    'model "m" has no weights',
    {
      nodes: [{ opType: 'Mod', name: 'mod', input: ['x', 'weight'], output: ['y'] }],
    },
  ],
  [
    'dimensions that are huge',
    'tensor "weight": dimensions [2000000000,2000000000] take 16000000000000000000 bytes',
    {
      initializers: [{ ...WEIGHT, dims: [2_000_000_000n, 2_000_000_000n] }],
    },
  ],
  [
    'dimensions that are negative',
    'tensor "weight": dimensions [-2,-2]',
    {
      initializers: [{ ...WEIGHT, dims: [-2n, -2n] }],
    },
  ],
  [
    'data that does not fill its dimensions',
    'dimensions [2,3] take 24 bytes, but there are 16',
    {
      initializers: [{ ...WEIGHT, dims: [2n, 3n] }],
    },
  ],
  [
    'an element type that is not built',
    'tensor "weight": element type STRING is not supported',
    {
      initializers: [{ ...WEIGHT, dataType: DataType.STRING }],
    },
  ],
  [
    'external data beside bytes',
    'keeps its data in "weights.bin": import the model by its path',
    {
      initializers: [external('weights.bin')],
    },
  ],
];

describe('a model is refused that has', () => {
  for (const [what, message, parts] of REFUSED) {
    it(what, async () => {
      const refused = importModel(modelOf(parts));
      await expect(refused).rejects.toThrow(GraphError);
      await expect(refused).rejects.toThrow(message);
    });
  }

  it('none of this, and is read', async () => {
    const { parameters } = await importModel(modelOf({}));
    expect(parameters).toEqual([{ name: 'weight', tensor: tensor('float32', [2, 2], Float32Array.of(1, 2, 3, 4)) }]);
  });

  it('no dimension or output of a name that is asked for', async () => {
    await expect(importModel(modelOf({}), { dims: { sequence: 3 } })).rejects.toThrow(
      'no input of model "m" has a dimension "sequence"; there are batch',
    );
    await expect(importModel(modelOf({}), { outputs: ['logits'] })).rejects.toThrow(
      'model "m" has no output "logits"; it has y',
    );
  });
});

describe('bytes that are no model', () => {
  it('are refused wherever a file was cut off', async () => {
    const whole = await readFile(join(import.meta.dirname, 'fixtures', 'bert-dynamo-18.onnx'));
    for (let part = 0; part < 20; part++) {
      const cut = whole.subarray(0, Math.floor((whole.length * part) / 20));
      await expect(importModel(cut), `${cut.length} of ${whole.length} bytes`).rejects.toThrow(GraphError);
    }
  });

  it('are refused whatever they are', () =>
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await expect(importModel(bytes)).rejects.toThrow(GraphError);
      }),
    ));

  it('are refused or read, but break nothing, when single ones are wrong', async () => {
    const whole = modelOf({});
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), async (at, byte) => {
        const result = await importModel(whole.with(at, byte)).catch((error: unknown) => error);
        if (result instanceof Error) expect(result).toBeInstanceOf(GraphError);
      }),
      { numRuns: 500 },
    );
  });
});

describe('external data', () => {
  let folder: string;
  const save = async (location: string, length?: number): Promise<string> => {
    const path = join(folder, 'model', 'model.onnx');
    await writeFile(path, modelOf({ initializers: [external(location, length)] }));
    return path;
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'graph-'));
    await mkdir(join(folder, 'model', 'data'), { recursive: true });
    const weights = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
    await writeFile(join(folder, 'model', 'data', 'weights.bin'), weights);
    await writeFile(join(folder, 'outside.bin'), weights);
    await symlink(join(folder, 'outside.bin'), join(folder, 'model', 'link.bin'));
    await symlink('data/weights.bin', join(folder, 'model', 'inside.bin'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  for (const location of ['data/weights.bin', 'inside.bin']) {
    it(`is read from ${location} in the folder of the model`, async () => {
      const { parameters } = await importModel(await save(location));
      expect(parameters[0]?.tensor.data).toEqual(Float32Array.of(1, 2, 3, 4));
    });
  }

  it('is refused outside of the folder', async () => {
    const outside = 'is not a plain path inside the folder of the model';
    await expect(importModel(await save('../outside.bin'))).rejects.toThrow(outside);
    await expect(importModel(await save('data/../../outside.bin'))).rejects.toThrow(outside);
    await expect(importModel(await save(join(folder, 'outside.bin')))).rejects.toThrow(outside);
    await expect(importModel(await save('link.bin'))).rejects.toThrow('leads out of the folder of the model');
  });

  it('is refused where it is missing or too short', async () => {
    await expect(importModel(await save('none.bin'))).rejects.toThrow('external data "none.bin" is not there');
    await expect(importModel(await save('data/weights.bin', 17))).rejects.toThrow('has 16 bytes; bytes 0 to 17');
    await expect(importModel(await save('data/weights.bin', 12))).rejects.toThrow('take 16 bytes, but there are 12');
  });

  it('is what a file above 2 GiB needs', async () => {
    const path = join(folder, 'large.onnx');
    await writeFile(path, '');
    await truncate(path, 2 ** 31);
    await expect(importModel(path)).rejects.toThrow('save its weights as external data');
    const graph = new Graph('large');
    graph.output('y', graph.constant(tensor('int8', [2 ** 31], new Int8Array(2 ** 31))));
    expect(() => serialize(graph)).toThrow('model "large" has 2147483648 bytes of constants; a file has at most');
  });
});
