import { create } from '@bufbuild/protobuf';
import { RunStateSchema } from '@understudy/contract/prompt';
import { expect, test } from 'vitest';
import { sourceRows } from './source-report.ts';

test('every source says what came of it; one plain source says nothing', () => {
  expect(sourceRows(create(RunStateSchema, { sources: [{ source: 'jsonl /a', records: 10 }] }))).toEqual([]);
  const writing = {
    calls: 12,
    spentMicroUsd: 30_000n,
    written: 100,
    kept: 60,
    exactDuplicates: 10,
    nearDuplicates: 20,
    unusable: 10,
    reason: 'the budget is spent',
  };
  const rows = sourceRows(
    create(RunStateSchema, {
      sources: [
        { source: 'jsonl /a', records: 5_000, badRecords: 3, irrelevant: 2, irrelevantDetails: ['/a:7: reads unlike'] },
        {
          source: 'log /b',
          records: 900,
          badRecords: 400,
          pairs: 500,
          faults: { 'other-prompt': 390, refused: 10 },
          trainsOnly: true,
        },
        { source: 'grammar', records: 50, possible: 2n ** 62n, trainsOnly: true },
        { source: 'written', records: 60, writing, trainsOnly: true },
      ],
    }),
  );
  expect(rows).toEqual([
    ['sources', 'jsonl /a: 5,000 records, 3 unusable, 2 do not belong to the task'],
    ['', 'log /b: 900 records, 500 finished pairs, 400 unusable (other-prompt 390, refused 10), for training only'],
    ['', 'grammar: 50 records, of 10¹⁵ and more that its grammar can make, for training only'],
    [
      '',
      'written: 60 records, 12 calls for $0.0300 wrote 100, 30.0% duplicates, 10.0% unusable, 60 kept in all, ended because: the budget is spent, for training only',
    ],
    ['left out', '/a:7: reads unlike'],
  ]);
});
