import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { importModel } from '@understudy/graph';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBundle } from '../bundle.ts';
import { headsOf } from '../description.ts';
import type { EncoderSource, StudentTraining } from '../family.ts';
import { compare } from '../heads/agreement.ts';
import { layoutOf } from '../heads/layout.ts';
import { StudentModel } from '../student-model.ts';
import { smallOptions, smallStudent, smallTask } from '../testing.ts';
import { tinyEncoder } from '../testing-encoder.ts';
import { trainCandidate } from '../train-student.ts';

type Folder = Awaited<ReturnType<typeof tinyEncoder>>;

const HEADS = { epochs: 30, learningRate: 0.03, weightDecay: 0 };
// 288 texts leave batches that are not full.
const TUNED = { epochs: 4, batchTexts: 20, learningRate: 3e-3, tokenDropout: 0.05 };

const encoderOptions = (
  folder: string,
  train: EncoderSource['train'],
  hyperparameters: Record<string, number> = train === 'heads' ? HEADS : TUNED,
): Partial<StudentTraining> => ({ candidate: { family: 'encoder', hyperparameters, encoder: { folder, train } } });

let bert: Folder;
beforeAll(async () => {
  bert = await tinyEncoder();
});
afterAll(() => bert[Symbol.asyncDispose]());

describe.each(['bert', 'roberta', 'modernbert'] as const)('an encoder of type %s', (architecture) => {
  it('learns the task in all of its weights, and answers from its bundle', async () => {
    await using encoder = await tinyEncoder(architecture);
    const { archive, digest, description } = await smallStudent(encoderOptions(encoder.folder, 'all'));
    expect(description.devAgreement).toBeGreaterThan(0.9);
    expect(description.training.pretrained?.train).toBe('all');
    const student = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
    const { dev } = smallTask();
    const predictions = await student.predict(dev.map(({ text }) => text));
    expect(compare(layoutOf(headsOf(description)), predictions, dev).devAgreement).toBe(description.devAgreement);
    const texts = ['', 'my invoice', 'parcel '.repeat(500), 'a\ud83d 😀', `${'x'.repeat(1_000_000)} password`];
    const together = await student.predict(texts);
    for (const [i, text] of texts.entries()) {
      const [alone] = await student.predict([text]);
      for (const [label, logit] of (alone?.logits.topic ?? []).entries()) {
        expect(together[i]?.logits.topic?.[label]).toBeCloseTo(logit, 3);
      }
    }
    await student.release();
  });
});

describe('parts of an encoder', () => {
  it('a head on frozen features learns less than all of it, and the same again', async () => {
    const student = await smallStudent(encoderOptions(bert.folder, 'heads'));
    expect(student.description.devAgreement).toBeGreaterThan(0.6);
    expect((await smallStudent(encoderOptions(bert.folder, 'heads'))).digest).toBe(student.digest);
  });

  it('the last layers learn while what is before them stays', async () => {
    const { finished } = await trainCandidate(smallOptions(encoderOptions(bert.folder, 'last-layers')));
    const original = await importModel(join(bert.folder, 'onnx', 'model.onnx'));
    const trained = await importModel(finished.model('float32'));
    const changed = original.parameters.filter(({ name, tensor }) => {
      const now = trained.parameters.find((parameter) => parameter.name === name);
      return !isDeepStrictEqual(now?.tensor.data, tensor.data);
    });
    const names = changed.map(({ name }) => name);
    expect(names.some((name) => name.includes('layer.1.'))).toBe(true);
    expect(names.filter((name) => name.includes('layer.0.') || name.includes('embeddings'))).toEqual([]);
  });

  it('a fine-tuning that was killed goes on to the same bundle', async () => {
    const options = encoderOptions(bert.folder, 'all', { ...TUNED, batchTexts: 4, epochs: 2 });
    const whole = await smallStudent(options);
    const killer = new AbortController();
    let saved: Uint8Array | undefined;
    const checkpoints = {
      load: async () => saved,
      save: async (bytes: Uint8Array) => {
        saved = bytes;
        killer.abort(new Error('killed'));
      },
    };
    await expect(smallStudent({ ...options, checkpoints, signal: killer.signal })).rejects.toThrow('killed');
    const steps: number[] = [];
    const resumed = await smallStudent({
      ...options,
      checkpoints: { load: async () => saved, save: async () => {} },
      onProgress: ({ step }) => steps.push(step),
    });
    expect(steps[0]).toBe(120);
    expect(resumed.digest).toBe(whole.digest);
  });
});

describe('the cache of a frozen encoder', () => {
  let cacheFolder: string;
  beforeAll(async () => {
    cacheFolder = await mkdtemp(join(tmpdir(), 'understudy-features-'));
  });
  afterAll(() => rm(cacheFolder, { recursive: true, force: true }));

  it('is asked instead of the encoder, and outlives damage', async () => {
    const options = { ...encoderOptions(bert.folder, 'heads'), cacheFolder };
    const first = await smallStudent(options);
    const [name = ''] = await readdir(cacheFolder);
    const file = join(cacheFolder, name);
    const { size } = await stat(file);
    expect((await smallStudent(options)).digest).toBe(first.digest);
    expect((await stat(file)).size).toBe(size);

    const bytes = await readFile(file);
    await writeFile(
      file,
      bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
    );
    await appendFile(file, 'half a record');
    expect((await smallStudent(options)).digest).toBe(first.digest);
    expect((await stat(file)).size).toBe(size + 32 + 4 + 4 * 16);
  });

  it('keeps encoders apart', async () => {
    await using other = await tinyEncoder('distilbert');
    await smallStudent({ ...encoderOptions(other.folder, 'heads'), cacheFolder });
    expect(await readdir(cacheFolder)).toHaveLength(2);
  });
});

describe('a folder is refused, naming the file', () => {
  const change = (name: string, edit: (text: string) => string) => async (folder: string) =>
    writeFile(join(folder, name), edit(await readFile(join(folder, name), 'utf8')));
  const cases: [string, (folder: string) => Promise<unknown>, RegExp][] = [
    ['without config.json', (folder) => rm(join(folder, 'config.json')), /no config\.json/],
    ['without tokenizer.json', (folder) => rm(join(folder, 'tokenizer.json')), /no tokenizer\.json/],
    ['without a model', (folder) => rm(join(folder, 'onnx', 'model.onnx')), /no onnx\/model\.onnx or model\.onnx/],
    ['with a cut model', (folder) => truncate(join(folder, 'onnx', 'model.onnx'), 9_000), /model\.onnx/],
    ['with an empty model', (folder) => truncate(join(folder, 'onnx', 'model.onnx')), /model\.onnx/],
    ['with a cut tokenizer', (folder) => truncate(join(folder, 'tokenizer.json'), 700), /tokenizer\.json is not JSON/],
    ['with a cut config', (folder) => truncate(join(folder, 'config.json'), 20), /config\.json is not JSON/],
    [
      'with an unknown tokenizer',
      change('tokenizer.json', (text) => text.replace('"type":"WordPiece","unk', '"type":"Magic","unk')),
      /the tokenizer cannot be used/,
    ],
    [
      'with a config of no model',
      change('config.json', (text) => text.replace('model_type', 'type_of_model')),
      /config\.json: .*model_type/s,
    ],
    [
      'whose tokenizer pads with an unknown token',
      change('tokenizer_config.json', (text) => text.replace('"pad_token":"[PAD]"', '"pad_token":"<none>"')),
      /"<none>" is not in the vocabulary/,
    ],
  ];
  it.each(cases)('%s', async (_, damage, message) => {
    await using encoder = await tinyEncoder();
    await damage(encoder.folder);
    const training = smallStudent(encoderOptions(encoder.folder, 'heads'));
    await expect(training).rejects.toMatchObject({ name: 'TrainingError', code: 'bad-encoder' });
    await expect(training).rejects.toThrow(message);
    await expect(training).rejects.toThrow(encoder.folder);
  });

  it('that is not there, and a candidate without one', async () => {
    await expect(smallStudent(encoderOptions('/nowhere', 'heads'))).rejects.toMatchObject({ code: 'bad-encoder' });
    await expect(smallStudent({ candidate: { family: 'encoder' } })).rejects.toMatchObject({ code: 'bad-settings' });
  });
});
