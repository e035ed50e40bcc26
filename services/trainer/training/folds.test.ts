import { Split } from '@understudy/contract';
import { parseFolds } from '@understudy/student/folds';
import { expect, it } from 'vitest';
import { Heard, LABELS, type Pair, pairs, Stage } from '../testing.ts';
import { foldsFrom, type Judged } from './folds.ts';

const judged = (pairId: string, answer: string | undefined, confidence: number, agrees = false): Judged => ({
  ...{ pairId, answer, confidence, agrees },
});

it('suspects are surer of another answer than students are where that is right', () => {
  const found = foldsFrom([
    ...[0.6, 0.8].map((confidence, i) => judged(`a${i}`, 'a', confidence, true)),
    ...[0.9, 0.94].map((confidence, i) => judged(`b${i}`, 'b', confidence, true)),
    judged('as sure as usual', 'a', 0.7),
    judged('surer', 'a', 0.8),
    judged('less sure than b usually is', 'b', 0.9),
    judged('never right, sure', 'c', 0.85),
    judged('never right', 'c', 0.5),
    judged('for the teacher', undefined, 0.99),
  ]);
  expect(found).toMatchObject({ pairs: 10, agreeing: 4 });
  expect(found.suspects.map(({ pairId }) => pairId)).toEqual(['never right, sure', 'surer', 'as sure as usual']);
  expect(foldsFrom([judged('x', 'a', 0.9)]).suspects).toEqual([]);
  expect(parseFolds(JSON.stringify(found))).toEqual(found);
});

it('where a task asks for it, wrong answers are found by students that did not learn from them, and told with the student', async () => {
  await using stage = await Stage.set({ training: { families: ['bag'], findSuspects: true } });
  await using trained = new Heard(stage.bus, 'student.trained');
  await stage.pairStore.listen();
  const service = await stage.startTrainer();
  const wrong = new Set(Array.from({ length: 4 }, (_, n) => String(n * 41)));
  const stored = [...pairs(Split.TRAIN, 200), ...pairs(Split.DEV, 60)].map((given): Pair => {
    const { pairId, answerJson } = given.pair!;
    if (given.split !== Split.TRAIN || !wrong.has(pairId!)) return given;
    const label = LABELS.find((one) => !answerJson!.includes(one));
    const pair = { ...given.pair!, answerJson: JSON.stringify({ label }), soft: [] };
    return { ...given, pair } as Pair;
  });
  await stage.seal('run-1', stored);
  const { foldsDigest } = await trained.first();
  await service.stop();
  const folds = parseFolds(new TextDecoder().decode(await stage.blobs.get('folds', foldsDigest)));
  expect(folds).toMatchObject({ folds: 3, pairs: 200, agreeing: 196 });
  expect(new Set(folds.suspects.map(({ pairId }) => pairId))).toEqual(wrong);
});
