/** A test split that was poisoned with what the student was trained on. */
import { type EvalFailed, Split } from '@understudy/contract';
import { EvaluatorService } from '@understudy/contract/evaluator';
import type { SplitPair } from '@understudy/contract/pair-store';
import { type RunningService, startService } from '@understudy/service/lifecycle';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { sha256Hex } from '@understudy/task';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { definition } from './service.ts';
import { Bench } from './testing/bench.ts';
import { keepTask, smallTraining } from './testing/corpus.ts';

let bench: Bench;
let evaluator: RunningService;
let client: RpcClient<typeof EvaluatorService>;

beforeAll(async () => {
  bench = await Bench.start();
  evaluator = await startService(definition, bench.environment, { blobs: bench.blobs });
  client = createClient(EvaluatorService, { address: `127.0.0.1:${evaluator.grpcPort}` });
});
afterAll(async () => {
  client.close();
  await evaluator.stop();
  await bench[Symbol.asyncDispose]();
});

describe('a test that train knows by heart', () => {
  /** The first pairs of test become copies of train pairs, or nearly. */
  const withTwins = (twins: number): SplitPair[] => {
    const train = bench.pairs.filter(({ split }) => split === Split.TRAIN);
    let copied = 0;
    return bench.pairs.map((given) => {
      if (given.split !== Split.TEST || copied === twins) return given;
      const twin = train[copied]!.pair!;
      const text = copied % 2 === 0 ? twin.text.toUpperCase() : `${twin.text} ok.`;
      copied += 1;
      const pair = { ...given.pair!, pairId: sha256Hex(text), text, answerJson: twin.answerJson };
      return { ...given, pair };
    });
  };

  test('proves nothing: a verdict that says so, and no look is spent', async () => {
    const task = await keepTask(bench.blobs, { name: 'twins' });
    const pairs = withTwins(200);
    await bench.publish(await bench.event(task, 'run-twins', pairs, smallTraining(bench.pairs)));
    const [verdict] = (await bench.verdicts(task, 1)) as EvalFailed[];
    expect(verdict).toMatchObject({ type: 'failed', morePairs: 0, summary: { look: 0 } });
    expect(verdict!.reason).toMatch(/proves nothing: 200 of its 400 pairs are in train too/);
    expect(await bench.looksOf(task)).toBe(0);
  });

  test('where it is a few pairs, is judged without them', async () => {
    const task = await keepTask(bench.blobs, { name: 'few-twins' });
    await bench.publish(await bench.event(task, 'run-few', withTwins(6), smallTraining(bench.pairs)));
    const [verdict] = await bench.verdicts(task, 1);
    expect(verdict).toMatchObject({ type: 'passed', summary: { testPairs: 394 } });
    const { reports } = await client.listReports({ task: 'few-twins' });
    expect(JSON.parse(reports[0]!.reportJson).twins).toEqual({ ofTrain: 6, ofTest: 0 });
  });

  test('copies of one test pair count once', async () => {
    const task = await keepTask(bench.blobs, { name: 'copies' });
    const [easy] = bench.pairs.filter(({ split }) => split === Split.TEST);
    let n = 0;
    const pairs = bench.pairs.map((given) => {
      if (given.split !== Split.TEST || given === easy) return given;
      n += 1;
      const text = `${easy!.pair!.text} ${n}`;
      const { answerJson } = easy!.pair!;
      return { ...given, pair: { ...given.pair!, pairId: sha256Hex(text), text, answerJson } };
    });
    await bench.publish(await bench.event(task, 'run-copies', pairs, smallTraining(bench.pairs)));
    const [verdict] = (await bench.verdicts(task, 1)) as EvalFailed[];
    expect(verdict).toMatchObject({ type: 'failed', summary: { look: 0 } });
    expect(verdict!.reason).toMatch(/too few pairs to decide: 200 in dev and \d in test/);
  });
});
