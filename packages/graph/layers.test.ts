import { describe, expect, it } from 'vitest';
import { Graph, type Value } from './graph.ts';
import {
  embeddingParameters,
  embedTokens,
  encoderLayer,
  encoderLayerParameters,
  keyMask,
  type LayerParameter,
  linear,
  linearParameters,
  meanPool,
} from './layers.ts';
import { softCrossEntropy } from './loss.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import type { Dim } from './shape.ts';
import { elementCount, tensor, vectorOf } from './tensor.ts';
import { initialState, TrainingSession } from './training-session.ts';
import type { Clock, TrainingDefinition } from './training-step.ts';

const SHAPE = { width: 8, heads: 2, feedForward: 16 };
const [BATCH, LENGTH, VOCABULARY, CLASSES] = [4, 6, 20, 3];

const PARAMETERS: readonly LayerParameter[] = [
  ...embeddingParameters('embeddings', VOCABULARY, LENGTH, SHAPE.width),
  ...encoderLayerParameters('layer.0', SHAPE),
  ...linearParameters('head', SHAPE.width, CLASSES),
];

/** Values of no symmetry around 1 for scales and 0 for all else. */
const values = ({ dims, start }: LayerParameter, phase: number): Float32Array =>
  Float32Array.from({ length: elementCount(dims) }, (_, i) => {
    const wave = 0.5 * Math.sin(1.7 * i + phase);
    return 'constant' in start ? start.constant + 0.2 * wave : wave;
  });

const initial = (): Record<string, Float32Array> =>
  Object.fromEntries(PARAMETERS.map((parameter, i) => [parameter.name, values(parameter, i)]));

function logits(graph: Graph, parameters: Readonly<Record<string, Value>>, dims: readonly Dim[], clock?: Clock): Value {
  const tokens = graph.input('tokens', 'int64', dims);
  const mask = graph.input('attention_mask', 'int64', dims);
  const positions = graph.input('positions', 'int64', [dims[1] as Dim]);
  const dropped = clock && { rate: 0.1, mask: clock.mask };
  const embedded = embedTokens(graph, tokens, positions, parameters, 'embeddings', dropped);
  const encoded = encoderLayer(graph, embedded, parameters, 'layer.0', SHAPE, keyMask(graph, mask), dropped);
  return linear(graph, meanPool(graph, encoded, mask), parameters, 'head');
}

async function forward(dims: readonly Dim[], texts: readonly (readonly number[])[], length: number): Promise<number[]> {
  const graph = new Graph('layers');
  const parameters = Object.fromEntries(
    PARAMETERS.map((parameter, i) => [
      parameter.name,
      graph.constant(tensor('float32', parameter.dims, values(parameter, i)), parameter.name),
    ]),
  );
  graph.output('logits', logits(graph, parameters, dims));
  const session = await openSession(serialize(graph), { threads: 1 });
  const padded = (of: (token: number) => number): number[] =>
    texts.flatMap((text) => Array.from({ length }, (_, i) => (i < text.length ? of(text[i] as number) : 0)));
  const batch = [texts.length, length];
  const result = await session.run({
    tokens: toRuntime(
      vectorOf(
        'int64',
        padded((token) => token),
        batch,
      ),
    ),
    attention_mask: toRuntime(
      vectorOf(
        'int64',
        padded(() => 1),
        batch,
      ),
    ),
    positions: toRuntime(vectorOf('int64', [...Array(length).keys()])),
  });
  await session.release();
  return Array.from(result.logits?.data as Float32Array);
}

const TEXTS = [[3, 1, 4, 1, 5], [9, 2], [6], []];

describe('an encoder of layers', () => {
  it('gives the same for static and for dynamic shapes', async () => {
    const fixed = await forward([BATCH, LENGTH], TEXTS, LENGTH);
    const dynamic = await forward(['batch', 'length'], TEXTS, LENGTH);
    expect(fixed.length).toBe(BATCH * CLASSES);
    for (const [i, value] of dynamic.entries()) expect(value).toBeCloseTo(fixed[i] as number, 5);
  });

  it('gives a text the same answer whatever it is padded to and batched with', async () => {
    const batched = await forward(['batch', 'length'], TEXTS, LENGTH);
    for (const [i, text] of TEXTS.entries()) {
      const alone = await forward(['batch', 'length'], [text], Math.max(text.length, 1));
      for (const [j, value] of alone.entries()) expect(value).toBeCloseTo(batched[i * CLASSES + j] as number, 5);
    }
  });

  it('reads the order of tokens', async () => {
    const [there, back] = [await forward([1, 2], [[3, 7]], 2), await forward([1, 2], [[7, 3]], 2)];
    expect(Math.max(...there.map((value, i) => Math.abs(value - (back[i] as number))))).toBeGreaterThan(0.01);
  });

  it('learns which token comes first, through its dropout', async () => {
    const definition: TrainingDefinition = {
      name: 'layers',
      parameters: PARAMETERS,
      adamW: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
      loss: (graph, parameters, clock) =>
        softCrossEntropy(
          graph,
          logits(graph, parameters, [BATCH, LENGTH], clock),
          graph.input('targets', 'float32', [BATCH, CLASSES]),
          graph.input('weights', 'float32', [BATCH]),
          0,
        ),
    };
    const session = await TrainingSession.open(definition, initialState(initial()), { threads: 2 });
    const losses: number[] = [];
    for (let i = 0; i < 200; i++) {
      const texts = Array.from({ length: BATCH }, (_, row) =>
        Array.from({ length: LENGTH }, (_, place) => (i * 7 + row * 5 + place * place * 3) % VOCABULARY),
      );
      const targets = new Float32Array(BATCH * CLASSES);
      for (const [row, text] of texts.entries()) targets[row * CLASSES + ((text[0] as number) % CLASSES)] = 1;
      const batch = {
        tokens: vectorOf('int64', texts.flat(), [BATCH, LENGTH]),
        attention_mask: vectorOf('int64', Array(BATCH * LENGTH).fill(1), [BATCH, LENGTH]),
        positions: vectorOf('int64', [...Array(LENGTH).keys()]),
        targets: tensor('float32', [BATCH, CLASSES], targets),
        weights: vectorOf('float32', Array(BATCH).fill(1)),
      };
      losses.push(await session.run(batch, 5, 0.01));
    }
    await session.release();
    const mean = (some: readonly number[]): number => some.reduce((sum, loss) => sum + loss, 0) / some.length;
    expect(mean(losses.slice(0, 10))).toBeGreaterThan(0.9);
    expect(mean(losses.slice(-20))).toBeLessThan(0.45);
  });
});
