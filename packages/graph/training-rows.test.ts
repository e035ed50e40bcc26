import { describe, expect, it } from 'vitest';
import { RowTable } from './engines/tfjs/row-table.ts';
import { DivergedError } from './errors.ts';
import type { Graph, Value } from './graph.ts';
import { type TensorValue, vectorOf } from './tensor.ts';
import { initialState, TrainingSession, type TrainingState } from './training-session.ts';
import { STATE_PARTS, stateInput, type TrainingDefinition } from './training-step.ts';

const ADAM_W = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 };
const [ROWS, WIDTH] = [200, 3];
/** Uses of rows in a step, by bucket. */
const USES = [12, 5];
const DIRECTION = [1, -2, 0.5];

/** Σ weight · (row · direction) over the uses, so that a row's gradient is the sum of its weights times the direction. */
const definition = (used: boolean, tableRows = ROWS): TrainingDefinition => ({
  name: 'rows',
  adamW: ADAM_W,
  parameters: [
    {
      name: 'table',
      dims: [tableRows, WIDTH],
      decay: true,
      ...(used && { rows: { input: 'ids', atMost: (bucket) => USES[bucket] as number } }),
    },
    { name: 'direction', dims: [WIDTH, 1], decay: false },
  ],
  loss: (graph: Graph, { table, direction }: Readonly<Record<string, Value>>, { bucket }) => {
    const uses = USES[bucket] as number;
    const rows = graph.node('Gather', [table as Value, graph.input('ids', 'int64', [uses])]);
    const products = graph.node('MatMul', [rows, direction as Value]);
    const weighted = graph.node('MatMul', [graph.input('weights', 'float32', [1, uses]), products]);
    return graph.node('ReduceSum', [weighted, graph.constant(vectorOf('int64', [0, 1]))], { keepdims: 0 });
  },
});

const start = (): TrainingState =>
  initialState({
    table: Float32Array.from({ length: ROWS * WIDTH }, (_, i) => Math.sin(i)),
    direction: Float32Array.from(DIRECTION),
  });

type Batch = { readonly bucket: number; readonly ids: readonly number[]; readonly weights: readonly number[] };

const tensors = ({ ids, weights }: Batch): Record<string, TensorValue> => ({
  ids: vectorOf('int64', ids),
  weights: vectorOf('float32', weights, [1, weights.length]),
});

/** Batches of both buckets that use a few rows again and again, the table's last one among them. */
const batch = (step: number): Batch => {
  const bucket = step % USES.length;
  const uses = Array.from({ length: USES[bucket] as number }, (_, i) => i);
  return {
    bucket,
    ids: uses.map((i) => [ROWS - 1, 7, (step * 31) % ROWS, (step * 31 + i) % 90][i % 4] as number),
    weights: uses.map((i) => ((i * step) % 5) - 1.5),
  };
};

async function train(of: TrainingDefinition, from: TrainingState, steps: number): Promise<TrainingState> {
  const training = await TrainingSession.open(of, from, { threads: 2 });
  for (let i = 0; i < steps; i++) {
    const given = batch(training.step + 1);
    await training.run(tensors(given), 1, 0.01, given.bucket);
  }
  const end = await training.state();
  await training.release();
  return end;
}

describe('a table of which a step uses few rows', () => {
  it('has its used rows updated as AdamW says, duplicates summed, and all others left alone, moments included', async () => {
    const state = start();
    const training = await TrainingSession.open(definition(true), state, { threads: 2 });
    const table = Array.from(state.tensors['table.value'] as Float32Array);
    const moments = { first: new Map<number, number>(), second: new Map<number, number>() };
    for (let t = 1; t <= 40; t++) {
      const given = batch(t);
      const before = await training.state();
      const direction = before.tensors['direction.value'] as Float32Array;
      await training.run(tensors(given), 1, 0.01, given.bucket);
      const used = new Set(given.ids);
      for (let i = 0; i < table.length; i++) {
        const row = Math.floor(i / WIDTH);
        if (!used.has(row)) {
          for (const part of STATE_PARTS) {
            expect(training.view('table', part)[i]).toBe(before.tensors[stateInput('table', part)]?.[i]);
          }
          continue;
        }
        const weight = given.ids.reduce((sum, id, use) => sum + (id === row ? (given.weights[use] as number) : 0), 0);
        const g = weight * (direction[i % WIDTH] as number);
        const m = 0.9 * (moments.first.get(i) ?? 0) + 0.1 * g;
        const v = 0.999 * (moments.second.get(i) ?? 0) + 0.001 * g * g;
        moments.first.set(i, m);
        moments.second.set(i, v);
        const update = m / (1 - 0.9 ** t) / (Math.sqrt(v / (1 - 0.999 ** t)) + 1e-8);
        table[i] = (table[i] as number) * (1 - 0.01 * ADAM_W.weightDecay) - 0.01 * update;
        expect(training.view('table')[i]).toBeCloseTo(table[i] as number, 4);
      }
    }
    await training.release();
  });

  it('trains to the bits of one that is updated whole, where steps use all rows', async () => {
    const all = {
      ids: Array.from({ length: 12 }, (_, i) => i % 4),
      weights: Array.from({ length: 12 }, (_, i) => i - 3),
    };
    const ends = [];
    for (const used of [true, false]) {
      const from = initialState({ table: new Float32Array(12).fill(0.1), direction: Float32Array.from(DIRECTION) });
      const training = await TrainingSession.open(definition(used, 4), from, { threads: 2 });
      for (let i = 0; i < 20; i++) await training.run(tensors({ bucket: 0, ...all }), 1, 0.01);
      ends.push(await training.state());
      await training.release();
    }
    expect(ends[0]).toEqual(ends[1]);
  });

  it('is left as it was by a step that diverges, and trains on as if that had not been', async () => {
    const training = await TrainingSession.open(definition(true), start(), { threads: 2 });
    for (let t = 1; t <= 5; t++) await training.run(tensors(batch(2 * t)), 1, 0.01);
    const before = await training.state();
    const given = batch(2);
    const poisoned = tensors({ ...given, weights: given.weights.with(1, Number.NaN) });
    await expect(training.run(poisoned, 1, 0.01)).rejects.toThrow(DivergedError);
    expect(await training.state()).toEqual(before);
    await training.run(tensors(batch(6)), 1, 0.01);
    const after = await training.state();
    expect(await train(definition(true), before, 1)).toEqual(after);
    await training.release();
  });

  it('goes on from a state to the same bits, and does not change the state it was opened with', async () => {
    const whole = await train(definition(true), start(), 30);
    const half = await train(definition(true), start(), 13);
    const kept = structuredClone(half);
    expect(await train(definition(true), half, 17)).toEqual(whole);
    expect(half).toEqual(kept);
  });

  it('refuses rows that are not there, more of them than it has room for, and a batch without them', async () => {
    const training = await TrainingSession.open(definition(true), start(), { threads: 1 });
    const given = batch(2);
    for (const wrong of [-1, ROWS]) {
      await expect(training.run(tensors({ ...given, ids: given.ids.with(3, wrong) }), 1, 0.01)).rejects.toThrow(
        `row ${wrong} at 3: the table has the rows 0 to 199`,
      );
    }
    const many = { ...given, ids: given.ids.map((_, i) => i) };
    await expect(training.run(tensors(many), 1, 0.01, 1)).rejects.toThrow('a batch uses more than 5 rows of the table');
    const { weights } = tensors(given);
    await expect(training.run({ weights: weights as TensorValue }, 1, 0.01)).rejects.toThrow('the batch lacks "ids"');
    expect(training.step).toBe(0);
    await training.release();
  });

  it('writes back only what a step has changed', () => {
    const part = (): Float32Array => Float32Array.from({ length: 8 }, (_, i) => i);
    const table = new RowTable([4, 2], { value: part(), first: part(), second: part() });
    const { window, places } = table.take(vectorOf('int32', [3, 1, 3]), 3);
    expect(Array.from(places.data as Int32Array)).toEqual([0, 1, 0]);
    expect(Array.from(window.read.value.data as Float32Array).slice(0, 4)).toEqual([6, 7, 2, 3]);
    (window.written.value.data as Float32Array).fill(-1);
    expect(table.parts.value).toEqual(part());
    table.put();
    expect(Array.from(table.parts.value)).toEqual([0, 1, -1, -1, 4, 5, -1, -1]);
  });
});
