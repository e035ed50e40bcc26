import { describe, expect, it } from 'vitest';
import type { Graph, Value } from './graph.ts';
import { softCrossEntropy } from './loss.ts';
import { learningRateAt } from './schedule.ts';
import { tensor } from './tensor.ts';
import { initialState, TrainingSession, type TrainingState } from './training-session.ts';
import { type Clock, type TrainingDefinition, trainingStep } from './training-step.ts';

const ADAM_W = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 };
const [ROWS, WIDTH, BATCH, LENGTH, CLASSES] = [50, 8, 16, 12, 3];
const SEED = 5;

/** Mean of embedded tokens, dropout, linear head: duplicates in a batch make the embedding's gradient add up. */
function loss(graph: Graph, { table, head, bias }: Readonly<Record<string, Value>>, { mask }: Clock) {
  const tokens = graph.input('tokens', 'int64', [BATCH, LENGTH]);
  const embedded = graph.node('Gather', [table as Value, tokens]);
  const weights = mask('tokens', [BATCH, 1, LENGTH], 0.1);
  const bag = graph.node('Reshape', [
    graph.node('MatMul', [weights, embedded]),
    graph.constant(tensor('int64', [2], BigInt64Array.of(-1n, BigInt(WIDTH)))),
  ]);
  const logits = graph.node('Gemm', [bag, head as Value, bias as Value]);
  const targets = graph.input('targets', 'float32', [BATCH, CLASSES]);
  return softCrossEntropy(graph, logits, targets, graph.input('weights', 'float32', [BATCH]), 0.05);
}

const DEFINITION: TrainingDefinition = {
  name: 'bag',
  adamW: ADAM_W,
  loss,
  parameters: [
    { name: 'table', dims: [ROWS, WIDTH], decay: false },
    { name: 'head', dims: [WIDTH, CLASSES], decay: true },
    { name: 'bias', dims: [CLASSES], decay: false },
  ],
};

const wave = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => 0.1 * Math.sin(1.3 * i));
const start = (): TrainingState =>
  initialState({ table: wave(ROWS * WIDTH), head: wave(WIDTH * CLASSES), bias: wave(CLASSES) });

/** A batch whose label is the remainder of its first token, which fills half of the row. */
function batch(step: number) {
  const tokens = Array.from({ length: BATCH * LENGTH }, (_, i) => {
    const row = Math.floor(i / LENGTH);
    const topic = (row * 7 + step * 3) % ROWS;
    return BigInt(i % 2 ? topic : (i * 13 + step) % ROWS);
  });
  const targets = new Float32Array(BATCH * CLASSES);
  for (let row = 0; row < BATCH; row++) targets[row * CLASSES + (((row * 7 + step * 3) % ROWS) % CLASSES)] = 1;
  return {
    tokens: tensor('int64', [BATCH, LENGTH], BigInt64Array.from(tokens)),
    targets: tensor('float32', [BATCH, CLASSES], targets),
    weights: tensor('float32', [BATCH], new Float32Array(BATCH).fill(1)),
  };
}

async function run(state: TrainingState, steps: number, threads: number) {
  const session = await TrainingSession.open(DEFINITION, state, { threads });
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) losses.push(await session.run(batch(session.step), SEED, 0.02));
  const end = await session.state();
  await session.release();
  return { losses, end };
}

describe('a training session', () => {
  it('learns', async () => {
    const { losses } = await run(start(), 150, 2);
    expect(losses[0]).toBeGreaterThan(1);
    // Label smoothing of 0.05 over three classes leaves an entropy of 0.17 nats that no model gets below.
    expect(losses.at(-1)).toBeLessThan(0.35);
  });

  it('gives the same bits again, with several threads, and after being stopped and continued', async () => {
    const whole = await run(start(), 40, 2);
    const again = await run(start(), 40, 2);
    expect(again).toEqual(whole);
    const first = await run(start(), 17, 2);
    const rest = await run(first.end, 23, 2);
    expect(rest.end).toEqual(whole.end);
    expect([...first.losses, ...rest.losses]).toEqual(whole.losses);
  });

  it('does not change the state that it was opened with', async () => {
    const state = start();
    await run(state, 3, 1);
    expect(state).toEqual(start());
  });

  it('builds the same model twice', () => {
    expect(Buffer.from(trainingStep(DEFINITION)).equals(trainingStep(DEFINITION))).toBe(true);
  });

  it('refuses a state that does not fit', async () => {
    const { tensors } = start();
    const opened = TrainingSession.open(
      DEFINITION,
      { step: 0, tensors: { ...tensors, 'head.first': new Float32Array(2) } },
      { threads: 1 },
    );
    await expect(opened).rejects.toThrow('state tensor "head.first": expected 24 values, got 2');
  });
});

describe('AdamW', () => {
  it('follows the textbook recurrence', async () => {
    // loss = ½·Σ x², whose gradient is x itself.
    const square: TrainingDefinition = {
      name: 'square',
      adamW: { ...ADAM_W, weightDecay: 0.1 },
      parameters: [
        { name: 'decayed', dims: [2], decay: true },
        { name: 'kept', dims: [1], decay: false },
      ],
      loss: (graph, { decayed, kept }) => {
        const all = graph.node('Concat', [decayed as Value, kept as Value], { axis: 0 });
        const half = graph.node('Mul', [all, graph.constant(tensor('float32', [], Float32Array.of(0.5)))]);
        const axes = graph.constant(tensor('int64', [1], BigInt64Array.of(0n)));
        return graph.node('ReduceSum', [graph.node('Mul', [half, all]), axes], { keepdims: 0 });
      },
    };
    const x = [1, -2, 3];
    const [m, v] = [
      [0, 0, 0],
      [0, 0, 0],
    ];
    const session = await TrainingSession.open(
      square,
      initialState({ decayed: Float32Array.of(1, -2), kept: Float32Array.of(3) }),
      { threads: 1 },
    );
    for (let t = 1; t <= 50; t++) {
      const rate = learningRateAt(t, { shape: 'linear', peak: 0.05, warmupSteps: 10, totalSteps: 50 });
      await session.run({}, SEED, rate);
      for (const [i, g] of [...x].entries()) {
        m[i] = 0.9 * (m[i] as number) + 0.1 * g;
        v[i] = 0.999 * (v[i] as number) + 0.001 * g * g;
        const update = (m[i] as number) / (1 - 0.9 ** t) / (Math.sqrt((v[i] as number) / (1 - 0.999 ** t)) + 1e-8);
        x[i] = g * (i < 2 ? 1 - rate * 0.1 : 1) - rate * update;
      }
      const values = [...(await session.read('decayed')), ...(await session.read('kept'))];
      for (const [i, expected] of x.entries()) expect(values[i]).toBeCloseTo(expected, 4);
    }
    await session.release();
  });
});
