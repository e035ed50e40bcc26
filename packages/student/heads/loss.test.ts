import { Graph, openSession, serialize, tensor, toRuntime } from '@understudy/graph';
import type { Head } from '@understudy/task/output/head';
import { expect, it } from 'vitest';
import { labelHead, layoutOf } from './layout.ts';
import { lossOf } from './loss.ts';

const TEXTS = 2;
const WIDTH = 3;
const CONSISTENCY = 4;
const FIRST = [1.5, -0.5, 0.2, -2, 0.3, 0.9];
const SECOND = [0.4, -1.5, 1.2, -1, 0.8, -0.1];
const TARGETS = [1, 0, 0, 0, 0, 1];
const WEIGHTS = [1, 2];

/** The loss of two passes over the same texts. */
async function lossOfPasses(head: Head, first: readonly number[], second: readonly number[]): Promise<number> {
  const graph = new Graph('loss');
  const logits = (values: readonly number[]) =>
    graph.constant(tensor('float32', [TEXTS, WIDTH], Float32Array.from(values)));
  const again = { texts: logits(second), consistency: CONSISTENCY };
  graph.output('loss', lossOf(graph, layoutOf([head]), { texts: logits(first), again }, TEXTS, 0));
  const session = await openSession(serialize(graph), { threads: 1 });
  const float = (dims: readonly number[], values: readonly number[]) =>
    toRuntime(tensor('float32', dims, Float32Array.from(values)));
  const { loss } = await session.run({
    targets: float([TEXTS, WIDTH], TARGETS),
    example_weights: float([TEXTS], WEIGHTS),
    ...(head.kind === 'tags' && { head_weights: float([TEXTS, 1], WEIGHTS) }),
  });
  await session.release();
  return loss!.data[0] as number;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const crossEntropy = (targets: readonly number[], p: readonly number[]): number =>
  -sum(p.map((share, i) => (targets[i] as number) * Math.log(share)));
const divergence = (p: readonly number[], q: readonly number[]): number =>
  sum(p.map((share, i) => share * Math.log(share / (q[i] as number))));
const softmax = (logits: readonly number[]): number[] => {
  const total = sum(logits.map(Math.exp));
  return logits.map((logit) => Math.exp(logit) / total);
};
const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));

/** The distributions that a text's logits stand for: one of a choice, one for each label of a set. */
const distributions = (kind: string, logits: readonly number[]): number[][] =>
  kind === 'tags' ? logits.map((logit) => [sigmoid(logit), 1 - sigmoid(logit)]) : [softmax(logits)];

/** Means over both passes of −log p(target), and the consistency times both divergences, by hand. */
function expected(kind: string): number {
  const costs = WEIGHTS.map((weight, text) => {
    const of = (values: readonly number[]) => values.slice(text * WIDTH, (text + 1) * WIDTH);
    const [first, second] = [distributions(kind, of(FIRST)), distributions(kind, of(SECOND))];
    const targets = kind === 'tags' ? of(TARGETS).map((on) => [on, 1 - on]) : [of(TARGETS)];
    const fit = sum([first, second].flatMap((pass) => pass.map((p, i) => crossEntropy(targets[i]!, p))));
    const apart = sum(first.map((p, i) => divergence(p, second[i]!) + divergence(second[i]!, p)));
    return weight * (fit / 2 + CONSISTENCY * apart);
  });
  return sum(costs) / sum(WEIGHTS);
}

const HEADS: readonly Head[] = [
  labelHead('topic', ['bill', 'parcel', 'password']),
  { kind: 'tags', name: 'about', labels: ['"bill"', '"parcel"', '"password"'], minItems: 0, maxItems: 3 },
];

it.each(HEADS)('adds how far two passes part on a head of kind $kind', async (head) => {
  expect(await lossOfPasses(head, FIRST, SECOND)).toBeCloseTo(expected(head.kind), 4);
});
