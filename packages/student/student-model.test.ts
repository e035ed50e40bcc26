import { openSession, tensor, toRuntime } from '@understudy/graph';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bagDefaults } from './bag/hyperparameters.ts';
import { bagInferenceModel } from './bag/inference.ts';
import { initialParameters } from './bag/model.ts';
import { quantizeColumns } from './bag/quantize.ts';
import { hashTexts } from './bag/rows.ts';
import { type Bundle, openBundle } from './bundle.ts';
import { byteTokenizer } from './bytes.ts';
import { headsOf } from './description.ts';
import { compare } from './heads/agreement.ts';
import { labelHead, layoutOf } from './heads/layout.ts';
import { openPredictor } from './predictor.ts';
import { StudentModel } from './student-model.ts';
import { smallStudent, smallTask } from './testing.ts';

const TEXTS = [
  '',
  'a',
  'the parcel never came',
  'long '.repeat(2_000),
  '😀',
  'my invoice is wrong',
  'a\ud83d',
  '<pad>',
];

describe('a loaded student', () => {
  let bundle: Bundle;
  let student: StudentModel;
  beforeAll(async () => {
    const { archive, digest } = await smallStudent();
    bundle = await openBundle(archive, digest);
    student = await StudentModel.load(bundle, { threads: 1 });
  });
  afterAll(() => student.release());

  it('answers as the teacher does', async () => {
    const { dev } = smallTask();
    const predictions = await student.predict(dev.map(({ text }) => text));
    const heads = headsOf(student.description);
    expect(compare(layoutOf(heads), predictions, dev).devAgreement).toBe(student.description.devAgreement);
  });

  it('gives each text the same answer alone and among others, in the order of the texts', async () => {
    const together = await student.predict(TEXTS);
    for (const [i, text] of TEXTS.entries()) {
      const [alone] = await student.predict([text]);
      for (const [label, logit] of (alone?.logits.topic ?? []).entries()) {
        expect(together[i]?.logits.topic?.[label]).toBeCloseTo(logit, 5);
      }
    }
  });

  it('answers more texts than fit in one call, and none', async () => {
    const texts = Array.from({ length: 150 }, (_, i) => TEXTS[i % TEXTS.length] as string);
    const all = await student.predict(texts);
    expect(all).toHaveLength(150);
    expect(await student.predict([])).toEqual([]);
  });

  it('takes a sequence of no tokens at all', async () => {
    const session = await openSession(bundle.model, { threads: 1 });
    const none = toRuntime(tensor('int64', [1, 0], new BigInt64Array()));
    const { logits } = await session.run({ input_ids: none, attention_mask: none });
    const [empty] = await student.predict(['']);
    expect(logits?.data).toEqual(empty?.logits.topic);
    await session.release();
  });
});

describe('the finished graph', () => {
  const shape = { ...bagDefaults(3, 1), rows: 512, width: 6 };
  const untrained = initialParameters(shape, { usedRows: shape.rows - 1, batchRows: shape.rows, labels: 3 }, 1);
  const heads = [labelHead('y', ['a', 'b', 'c'])];
  const parameters = { ...untrained, bias: Float32Array.of(0.5, -0.25, 0) };

  /** Σ rows / √count · head + bias, spelled out in float64. */
  async function expected(text: string, table: ArrayLike<number>): Promise<number[]> {
    const { rows } = await hashTexts([text], shape.rows, 1);
    const bag = Array.from({ length: shape.width }, (_, column) => {
      const sum = Array.from(rows).reduce((total, row) => total + (table[row * shape.width + column] as number), 0);
      return sum / Math.sqrt(Math.max(rows.length, 1));
    });
    return Array.from(parameters.bias, (bias, label) =>
      bag.reduce((sum, value, column) => sum + value * (parameters.head[column * 3 + label] as number), bias),
    );
  }

  it.each(['float32', 'int8'] as const)(
    'computes weighted sums of rows, then the head, with a table in %s',
    async (precision) => {
      const { integers, scales } = quantizeColumns(parameters.table, shape.width);
      const rounded = Array.from(integers, (value, i) => value * (scales[i % shape.width] as number));
      const table = precision === 'int8' ? rounded : parameters.table;
      const predictor = await openPredictor(
        bagInferenceModel(shape, layoutOf(heads), parameters, precision),
        byteTokenizer,
        heads,
        1,
      );
      const predictions = await predictor.predict(TEXTS);
      for (const [i, text] of TEXTS.entries()) {
        for (const [label, logit] of (await expected(text, table)).entries()) {
          expect(predictions[i]?.logits.y?.[label], `${text.slice(0, 20)}, label ${label}`).toBeCloseTo(logit, 3);
        }
      }
      await predictor.release();
    },
  );

  it('rounds a table to within half a step of each column', () => {
    const { integers, scales } = quantizeColumns(parameters.table, shape.width);
    for (const [i, value] of parameters.table.entries()) {
      const scale = scales[i % shape.width] as number;
      expect(Math.abs((integers[i] as number) * scale - value)).toBeLessThanOrEqual(scale * 0.5001);
    }
    expect(quantizeColumns(new Float32Array(4), 2).integers).toEqual(new Int8Array(4));
  });
});
