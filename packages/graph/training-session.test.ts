import { describe, expect, it } from 'vitest';
import { DivergedError } from './errors.ts';
import type { Graph, Value } from './graph.ts';
import { softCrossEntropy } from './loss.ts';
import { learningRateAt } from './schedule.ts';
import { tensor, vectorOf } from './tensor.ts';
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

  it('does not take a step whose loss or gradients are not finite, and says which', async () => {
    const good = await run(start(), 7, 2);
    const session = await TrainingSession.open(DEFINITION, start(), { threads: 2 });
    for (let i = 0; i < 5; i++) await session.run(batch(session.step), SEED, 0.02);
    const before = await session.state();
    const poisoned = batch(session.step);
    (poisoned.targets.data as Float32Array)[4] = Number.NaN;
    const refused = await session.run(poisoned, SEED, 0.02).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(DivergedError);
    expect(refused).toMatchObject({ step: 6, message: expect.stringContaining('step 6 was not taken') });
    expect(await session.state()).toEqual(before);
    for (let i = 0; i < 2; i++) await session.run(batch(session.step), SEED, 0.02);
    expect(await session.state()).toEqual(good.end);
    await session.release();
  });

  it('does not take a step with a finite loss and an infinite gradient', async () => {
    const roots: TrainingDefinition = {
      name: 'roots',
      adamW: ADAM_W,
      parameters: [{ name: 'x', dims: [2], decay: false }],
      loss: (graph, { x }) =>
        graph.node('ReduceSum', [graph.node('Sqrt', [x as Value]), graph.constant(vectorOf('int64', [0]))], {
          keepdims: 0,
        }),
    };
    const session = await TrainingSession.open(roots, initialState({ x: Float32Array.of(4, 0) }), { threads: 1 });
    await expect(session.run({}, SEED, 0.1)).rejects.toThrow('its loss is 2 and the norm of its gradients Infinity');
    expect(Array.from(session.view('x'))).toEqual([4, 0]);
    await session.release();
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

  it('scales gradients down to the norm they are clipped to, and leaves smaller ones alone', async () => {
    // loss = Σ slope·x, whose gradient is the slopes; after one step the sums of gradients show what was taken.
    const slopes = [3, 4, 12];
    const taken = async (clipNorm: number): Promise<number[]> => {
      const definition: TrainingDefinition = {
        name: 'slopes',
        adamW: { ...ADAM_W, clipNorm },
        parameters: [
          { name: 'a', dims: [2], decay: false },
          { name: 'b', dims: [1], decay: false },
        ],
        loss: (graph, { a, b }) => {
          const all = graph.node('Concat', [a as Value, b as Value], { axis: 0 });
          const weighted = graph.node('Mul', [all, graph.constant(vectorOf('float32', slopes))]);
          return graph.node('ReduceSum', [weighted, graph.constant(vectorOf('int64', [0]))], { keepdims: 0 });
        },
      };
      const zero = initialState({ a: new Float32Array(2), b: new Float32Array(1) });
      const session = await TrainingSession.open(definition, zero, { threads: 1 });
      await session.run({}, SEED, 0.1);
      const sums = [...session.view('a', 'first'), ...session.view('b', 'first')];
      const squares = [...session.view('a', 'second'), ...session.view('b', 'second')];
      for (const [i, sum] of sums.entries()) expect(squares[i]).toBeCloseTo(sum ** 2, 4);
      await session.release();
      return sums;
    };
    expect(await taken(20)).toEqual(slopes);
    for (const [i, value] of (await taken(6.5)).entries()) expect(value).toBeCloseTo((slopes[i] as number) / 2, 5);
  });
});
