import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as AttributeType,
  FunctionProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
} from 'onnx-buf';
import { beforeAll, describe, expect, it } from 'vitest';
import { openArchive, sha256Of, writeArchive } from './archive.ts';
import { openBundle, writeBundle } from './bundle.ts';
import type { ExportedStudent } from './family.ts';
import { LABELS, LINEAGE, smallStudent } from './testing.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const parsed = (bytes: Uint8Array | undefined) => JSON.parse(new TextDecoder().decode(bytes));

let student: ExportedStudent;
let files: Map<string, Uint8Array>;
beforeAll(async () => {
  student = await smallStudent();
  files = await openArchive(student.archive);
});

/** The archive of the student with some files replaced, manifest and all: what a forger could write. */
const forged = (changes: Record<string, Uint8Array>): Promise<Uint8Array> =>
  writeArchive(new Map([...files, ...Object.entries(changes)]));

const forgedModel = (change: (model: ModelProto) => void): Promise<Uint8Array> => {
  const model = fromBinary(ModelProtoSchema, files.get('onnx/model.onnx') as Uint8Array);
  change(model);
  return forged({ 'onnx/model.onnx': toBinary(ModelProtoSchema, model) });
};

describe('a bundle', () => {
  it('is a Hugging Face model folder with a card and our description', () => {
    expect([...files.keys()].sort()).toEqual([
      'README.md',
      'config.json',
      'onnx/model.onnx',
      'tokenizer.json',
      'tokenizer_config.json',
      'understudy.json',
    ]);
    expect(parsed(files.get('config.json'))).toMatchObject({
      model_type: 'bert',
      id2label: { 0: 'bill', 1: 'parcel', 2: 'password' },
      label2id: { bill: 0, parcel: 1, password: 2 },
    });
    expect(new TextDecoder().decode(files.get('README.md'))).toContain('one of 3 labels: `bill`, `parcel`, `password`');
  });

  it('says what it was made of', async () => {
    const { description, digest } = await openBundle(student.archive, student.digest);
    expect(digest).toBe(sha256Of(student.archive));
    expect(description).toMatchObject({
      family: 'bag',
      heads: [{ field: 'topic', output: 'logits.topic', kind: 'softmax', labels: [...LABELS] }],
      lineage: LINEAGE,
      training: { seed: 7, threads: 2, trainExamples: 288, devExamples: 72 },
    });
  });

  it('is small', () => {
    expect(student.description.precision).toBe('int8');
    expect(files.get('onnx/model.onnx')?.length).toBeLessThan(1_024 * 8 + 20_000);
  });

  it('holds no time: another moment gives the same bytes', async () => {
    expect((await writeBundle(files)).digest).toBe(student.digest);
  });
});

describe('openBundle refuses', () => {
  const code = (expected: string) => ({ name: 'BundleError', code: expected });

  it.each(['config.json', 'tokenizer.json', 'understudy.json', 'onnx/model.onnx'])(
    'a bundle without %s',
    async (name) => {
      const archive = await writeArchive(new Map([...files].filter(([path]) => path !== name)));
      await expect(openBundle(archive)).rejects.toMatchObject(code('malformed'));
      await expect(openBundle(archive)).rejects.toThrow(name);
    },
  );

  it('a description of a newer version, and one that is no JSON', async () => {
    const newer = { ...parsed(files.get('understudy.json')), version: 2 };
    const archive = await forged({ 'understudy.json': utf8(JSON.stringify(newer)) });
    await expect(openBundle(archive)).rejects.toMatchObject(code('unsupported'));
    await expect(openBundle(await forged({ 'understudy.json': utf8('{') }))).rejects.toMatchObject(code('malformed'));
  });

  it('a model that is none', async () => {
    const archive = await forged({ 'onnx/model.onnx': utf8('not a model') });
    await expect(openBundle(archive)).rejects.toMatchObject(code('malformed'));
  });

  it('a tensor whose data is in another file', async () => {
    const archive = await forgedModel(({ graph }) => {
      const tensor = graph!.initializer[0]!;
      tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
      tensor.externalData = [create(StringStringEntryProtoSchema, { key: 'location', value: '/etc/passwd' })];
    });
    await expect(openBundle(archive)).rejects.toMatchObject(code('external-data'));
  });

  it('a foreign operator, also inside of a subgraph and of a function', async () => {
    const foreign = create(NodeProtoSchema, { opType: 'ReadFile', domain: 'com.example' });
    const branch = { name: 'then_branch', type: AttributeType.GRAPH, g: { node: [foreign] } };
    const nested = create(NodeProtoSchema, { opType: 'If', attribute: [branch] });
    const changes: ((model: ModelProto) => void)[] = [
      ({ graph }) => graph!.node.push(foreign),
      ({ graph }) => graph!.node.push(nested),
      ({ functions }) => functions.push(create(FunctionProtoSchema, { name: 'f', node: [foreign] })),
      ({ opsetImport }) => opsetImport.push(create(OperatorSetIdProtoSchema, { domain: 'com.example', version: 1n })),
    ];
    for (const change of changes) {
      const archive = await forgedModel(change);
      await expect(openBundle(archive)).rejects.toMatchObject(code('unknown-operator'));
    }
  });

  it('a model without the output that the description names', async () => {
    const archive = await forgedModel(({ graph }) => graph!.output.splice(0));
    await expect(openBundle(archive)).rejects.toThrow('has no output "logits.topic"');
  });
});
