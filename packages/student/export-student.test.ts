import { expect, test } from 'vitest';
import { exportAt, exportStudent } from './export-student.ts';
import { smallOptions, smallTask } from './testing.ts';
import { trainCandidate } from './train-student.ts';

test('weights are stored as int8, unless that costs agreement and there is room for float32', async () => {
  const options = smallOptions();
  const good = await trainCandidate(options);
  expect((await exportStudent(options, good)).description.precision).toBe('int8');

  // A student that learnt each answer as the next one stands for what int8 might make of another's weights.
  const { train } = smallTask();
  const turned = train.map((example) => ({
    ...example,
    target: example.target.map(({ probabilities = [] }) => {
      const next = [...probabilities.slice(1), probabilities[0]!];
      return { value: { kind: 'choice' as const, index: next.indexOf(Math.max(...next)) }, probabilities: next };
    }),
  }));
  const bad = await trainCandidate({ ...options, train: turned, dev: turned });
  const spoilt: typeof good = {
    ...good,
    finished: {
      ...good.finished,
      model: (precision) => (precision === 'int8' ? bad : good).finished.model(precision),
    },
  };
  const full = await exportAt(options, spoilt, 'float32');
  expect(await exportStudent(options, spoilt)).toEqual(full);
  expect(await exportStudent({ ...options, maxBytes: full.archive.length }, spoilt)).toEqual(full);
  const small = await exportStudent({ ...options, maxBytes: full.archive.length - 1 }, spoilt);
  expect(small.description).toMatchObject({ precision: 'int8' });
  expect(small.description.devAgreement).toBeLessThan(full.description.devAgreement);
  expect(small.archive.length).toBeLessThan(full.archive.length);
});
