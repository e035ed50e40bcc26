import { expect, it } from 'vitest';
import { openBundle } from '../bundle.ts';
import { StudentModel } from '../student-model.ts';
import { smallStudent, smallTask } from '../testing.ts';
import { hashTexts } from './rows.ts';
import { renumbered, usedRows, wholeTable } from './used-rows.ts';

const cacheOf = (...rows: number[]) => ({ rows: Uint16Array.from(rows), offsets: [0, rows.length] });

it('numbers the rows that train texts use, and gives all others the row after them', () => {
  const used = usedRows(cacheOf(5, 2, 5, 7), 8);
  expect([...used]).toEqual([2, 5, 7]);
  expect([...renumbered(cacheOf(7, 0, 2, 5, 6), used, 8).rows]).toEqual([2, 3, 0, 1, 3]);
});

it('numbers a table whose rows are all used, the largest there is', () => {
  const all = cacheOf(...Array.from({ length: 65_536 }, (_, row) => row));
  const used = usedRows(all, 65_536);
  expect(used).toHaveLength(65_536);
  expect(renumbered(all, used, 65_536).rows).toEqual(all.rows);
});

it('puts trained rows back into their places', () => {
  const table = wholeTable(Float32Array.of(1, 2, 3, 4, 0, 0), Uint32Array.of(1, 3), 4, 2);
  expect([...table]).toEqual([0, 0, 1, 2, 0, 0, 3, 4]);
});

it('leaves rows that no train text uses at zero, so that unknown n-grams say nothing', async () => {
  const hyperparameters = { rows: 65_536, width: 2, batchTexts: 32, epochs: 2 };
  const trained = await hashTexts(
    smallTask().train.map(({ text }) => text),
    hyperparameters.rows,
    1,
  );
  const used = new Set(usedRows(trained, hyperparameters.rows));
  const strange = ['ж', 'щ', 'ю', '語', '漢', 'λ'];
  const { rows, offsets } = await hashTexts(strange, hyperparameters.rows, 1);
  const unknown = strange.filter((_, i) => !rows.slice(offsets[i], offsets[i + 1]).some((row) => used.has(row)));
  expect(unknown.length, 'strange texts that share no row with a train text').toBeGreaterThan(1);

  const { archive, digest } = await smallStudent({ candidate: { family: 'bag', hyperparameters } });
  const student = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
  const [known, ...others] = await student.predict(['reset my password', ...unknown]);
  await student.release();
  for (const other of others) expect(other).toEqual(others[0]);
  expect(known).not.toEqual(others[0]);
});
