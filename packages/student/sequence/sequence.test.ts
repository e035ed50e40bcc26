import { Tokenizer } from '@huggingface/tokenizers';
import { openSession, tensor, toRuntime } from '@understudy/graph';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Bundle, openBundle } from '../bundle.ts';
import { headsOf } from '../description.ts';
import { exportAt } from '../export-student.ts';
import type { Family, StudentTraining } from '../family.ts';
import { compare } from '../heads/agreement.ts';
import { layoutOf } from '../heads/layout.ts';
import { StudentModel } from '../student-model.ts';
import { smallOptions, smallStudent, smallTask } from '../testing.ts';
import { loadTokenizer } from '../tokenizer.ts';
import { trainCandidate } from '../train-student.ts';
import { bucketLengths, encodedSequences } from './batches.ts';
import { learnMerges } from './merges.ts';
import { learnVocabulary } from './vocabulary.ts';

const SETTINGS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  conv: { vocabulary: 400, width: 16, filters: 16, epochs: 6, batchTexts: 8, learningRate: 0.01, maxTokens: 64 },
  transformer: {
    ...{ vocabulary: 400, width: 16, feedForward: 32, layers: 1, heads: 2, epochs: 8, batchTexts: 8 },
    ...{ learningRate: 5e-3, maxTokens: 64 },
  },
};

const options = (family: Family, settings: Record<string, number> = {}): Partial<StudentTraining> => ({
  candidate: { family, hyperparameters: { ...SETTINGS[family], ...settings } },
});

describe.each(['conv', 'transformer'] as const)('a %s student', (family) => {
  it('learns the task, and answers alike from its bundle, alone and among others, in int8 and float', async () => {
    const training = smallOptions(options(family));
    const trained = await trainCandidate(training);
    const { dev } = smallTask();
    const texts = ['', 'parcel', 'reset my PASSWORD '.repeat(200), 'a\ud83d 😀', '<pad>', 'x'.repeat(1_000_000)];
    for (const precision of ['float32', 'int8'] as const) {
      const { archive, digest, description } = await exportAt(training, trained, precision);
      expect(description.devAgreement).toBeGreaterThan(0.9);
      const student = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
      const predictions = await student.predict(dev.map(({ text }) => text));
      expect(compare(layoutOf(headsOf(description)), predictions, dev).devAgreement).toBe(description.devAgreement);
      const together = await student.predict(texts);
      for (const [i, text] of texts.entries()) {
        const [alone] = await student.predict([text]);
        for (const [label, logit] of (alone?.logits.topic ?? []).entries()) {
          expect(together[i]?.logits.topic?.[label], `${precision}: ${text.slice(0, 20)}`).toBeCloseTo(logit, 3);
        }
      }
      await student.release();
    }
  });

  it('is the same bundle again from the same seed, also when its training was killed', async () => {
    const given = options(family, { epochs: 4 });
    const whole = await smallStudent(given);
    const killer = new AbortController();
    let saved: Uint8Array | undefined;
    const save = async (bytes: Uint8Array): Promise<void> => {
      saved = bytes;
      killer.abort(new Error('killed'));
    };
    const checkpoints = { load: async () => saved, save };
    await expect(smallStudent({ ...given, checkpoints, signal: killer.signal })).rejects.toThrow('killed');
    const steps: number[] = [];
    const resumed = await smallStudent({
      ...given,
      checkpoints: { load: async () => saved, save: async () => {} },
      onProgress: ({ step }) => steps.push(step),
    });
    expect(steps[0]).toBeGreaterThan(100);
    expect(resumed.digest).toBe(whole.digest);
  });

  it('refuses settings that it does not have, and a loss that is no number', async () => {
    await expect(smallStudent(options(family, { rows: 3 }))).rejects.toMatchObject({ code: 'bad-settings' });
    await expect(smallStudent(options(family, { learningRate: 1e30, clipNorm: 0 }))).rejects.toMatchObject({
      code: 'diverged',
      message: expect.stringMatching(/step \d+/),
    });
  });

  it('takes a sequence of no tokens at all', async () => {
    const { archive } = await smallStudent(options(family, { epochs: 1 }));
    const { model }: Bundle = await openBundle(archive);
    const session = await openSession(model, { threads: 1 });
    const none = toRuntime(tensor('int64', [1, 1], BigInt64Array.of(0n)));
    const { logits } = await session.run({ input_ids: none, attention_mask: none });
    expect(Array.from((logits?.data ?? [Number.NaN]) as Float32Array).every(Number.isFinite)).toBe(true);
    await session.release();
  });
});

describe('a vocabulary', () => {
  const texts = ['the parcel came', 'The parcel never came', 'Grüße 😀', 'parcels'];

  it('merges the most frequent pairs first, within words', () => {
    const merges = learnMerges(new Map(Object.entries({ abab: 2, ab: 3, cab: 1 })), 3);
    expect(merges.map(({ left, right }) => left + right)).toEqual(['ab', 'abab']);
  });

  it('gives the tokens that its files give elsewhere, lower-cased, of any text', () => {
    const { files, size } = learnVocabulary(texts, 300, 32);
    const ours = loadTokenizer(files);
    const theirs = new Tokenizer(files.json as object, files.config as object);
    expect(ours.encode('PARCEL')).toEqual(ours.encode('parcel'));
    expect(ours.encode('parcel')).toHaveLength(1);
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), (text) => {
        const ids = Array.from(ours.encode(text));
        expect(ids).toEqual(theirs.encode(text).ids.slice(0, 32));
        expect(ids.every((id) => id > 0 && id < size)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('does not grow beyond its size', () => {
    expect(learnVocabulary(texts, 260, 32).size).toBe(260);
  });
});

describe('batches of sequences', () => {
  it('have lengths that fit the texts, and one for none', () => {
    expect(bucketLengths([3, 4, 5, 30])).toEqual([8, 32]);
    expect(bucketLengths([0, 0])).toEqual([8]);
  });

  it('cut what is longer than the longest, and mask what is shorter', () => {
    const { buckets, features } = encodedSequences([[1, 2], Array.from({ length: 20 }, () => 7)], {
      batchTexts: 2,
      lengths: [8, 16],
      padId: 9,
    });
    expect([...buckets]).toEqual([0, 1]);
    expect([...(features([0], 0).tokens?.data ?? [])].slice(0, 4)).toEqual([1, 2, 9, 9]);
    expect([...(features([0], 0).token_mask?.data ?? [])].slice(0, 4)).toEqual([1, 1, 0, 0]);
    expect(features([1], 1).tokens?.dims).toEqual([2, 16]);
  });
});
