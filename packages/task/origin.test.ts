import { expect, test } from 'vitest';
import { originOf } from './origin.ts';
import type { Source } from './schema.ts';
import { TaskSchema } from './schema.ts';

const lines = (change: object): Source => ({ kind: 'lines', path: '/data/a.txt', ...change });

test('a source is called by its name, else its path without credentials, else its kind', () => {
  expect(originOf(lines({ name: 'letters' }))).toBe('letters');
  expect(originOf(lines({}))).toBe('/data/a.txt');
  expect(originOf(lines({ path: 's3://bucket/a.txt?accessKey=secret' }))).toBe('s3://bucket/a.txt');
  expect(originOf(lines({ path: `/${'x'.repeat(300)}\n/a.txt` }))).toMatch(/^x{193} \/a\.txt$/);
  expect(originOf({ kind: 'written', limit: 1, about: '', attributes: {} })).toBe('written');
});

test.each(['traffic', 'ask', 'two\nlines', '', 'x'.repeat(201)])('a name that says nothing is refused: %j', (name) => {
  const { sources } = TaskSchema.shape;
  expect(sources.safeParse([lines({ name: 'fine' })]).success).toBe(true);
  expect(sources.safeParse([lines({ name })]).success).toBe(false);
});
