import { describe, expect, test } from 'vitest';
import { testTask } from './testing.ts';

const example = (i: number) => ({
  input: { text: `text number ${i}` },
  output: { label: i % 2 === 0 ? 'ham' : 'spam' },
});
const taskWith = (sources: unknown[], change: object = {}) =>
  testTask({ examples: [example(1), example(2)], sources, ...change });

const file = { kind: 'jsonl', path: '/in.jsonl' };
const grammar = {
  kind: 'grammar',
  limit: 5,
  templates: [{ fields: { text: 'go to {{city}}' } }],
  lexicons: { city: ['Rome'] },
};
const written = { kind: 'written', limit: 5 };
const embedded = { teacher: { kind: 'embedded', model: 'universal-sentence-encoder-lite' } };

describe('sources of a task', () => {
  test('may be of any kind, in S3 too, beside at least one that is a sample', () => {
    const s3 = 's3://bucket/in.parquet?endpoint=http://127.0.0.1:9000';
    const { sources } = taskWith([
      file,
      { kind: 'parquet', path: s3 },
      { kind: 'log', path: '/calls.jsonl' },
      grammar,
      written,
    ]);
    expect(sources[1]).toMatchObject({ path: s3 });
    expect(sources.slice(2)).toMatchObject([
      { population: false },
      { population: false, seed: 1 },
      { about: '', attributes: {} },
    ]);
    expect(taskWith([{ ...grammar, population: true }]).sources).toHaveLength(1);
    expect(taskWith([{ kind: 'log', path: '/calls.jsonl', population: true }]).sources).toHaveLength(1);
  });

  test.each<[unknown[], object, RegExp]>([
    [
      [grammar, written, { kind: 'log', path: '/calls.jsonl' }],
      {},
      /sources: expected at least one source that is a sample of real inputs/,
    ],
    [
      [file, written],
      embedded,
      /sources\[1\].kind: expected a teacher that writes \(openai, anthropic, nats\).* kind embedded only answers/,
    ],
    [
      [file, written],
      { examples: [] },
      /sources\[1\].kind: expected examples in the task, which show the teacher what to write/,
    ],
    [[{ ...file, relevantOnly: true }], {}, /sources\[0\].relevantOnly: expected at least 20 examples .*, got 2/],
    [
      [file, { ...grammar, templates: [{ fields: { body: 'x' } }] }],
      {},
      /sources\[1\].templates.0.fields: expected exactly the fields of the input \(text\)/,
    ],
    [
      [file, { ...grammar, lexicons: { city: ['{{city}}'] } }],
      {},
      /sources\[1\].lexicons.city: expected lexicons that end, got a circle: city → city/,
    ],
    [
      [{ kind: 'folder', path: 's3://bucket/in', format: 'text' }],
      {},
      /expected a folder of this machine, got one in S3/,
    ],
    [[{ kind: 'jsonl', path: 'in.jsonl' }], {}, /expected an absolute path, got in.jsonl/],
    [[{ kind: 'sql', path: '/x' }], {}, /expected kind: jsonl, csv, parquet, lines, folder, log, grammar or written/],
    [[file, { ...grammar, limit: undefined }], {}, /sources\[1\].limit: expected .*got nothing; add it/],
  ])('that cannot be used are refused when the task is applied: %#', (sources, change, message) => {
    expect(() => taskWith(sources, change)).toThrow(message);
  });
});
