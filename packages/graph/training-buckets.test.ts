import { expect, it } from 'vitest';
import type { Graph, Value } from './graph.ts';
import {
  embeddingParameters,
  embedTokens,
  encoderLayer,
  encoderLayerParameters,
  keyMask,
  linear,
  linearParameters,
  meanPool,
} from './layers.ts';
import { softCrossEntropy } from './loss.ts';
import { elementCount, type TensorValue, tensor, vectorOf } from './tensor.ts';
import { initialState, TrainingSession, type TrainingState } from './training-session.ts';
import type { Clock, TrainingDefinition } from './training-step.ts';

/** Lengths that texts are padded to, by bucket. */
const LENGTHS = [4, 7, 12];
const SHAPE = { width: 8, heads: 2, feedForward: 16 };
const [BATCH, VOCABULARY, CLASSES] = [3, 40, 2];

const PARAMETERS = [
  ...embeddingParameters('embeddings', VOCABULARY, 12, SHAPE.width),
  ...encoderLayerParameters('layer', SHAPE),
  ...linearParameters('head', SHAPE.width, CLASSES),
];

function loss(graph: Graph, parameters: Readonly<Record<string, Value>>, { bucket }: Clock): Value {
  const dims = [BATCH, LENGTHS[bucket] as number] as const;
  const tokens = graph.input('tokens', 'int64', dims);
  const mask = graph.input('mask', 'int64', dims);
  const positions = graph.constant(vectorOf('int64', [...Array(dims[1]).keys()]));
  const embedded = embedTokens(graph, tokens, positions, parameters, 'embeddings', undefined);
  const encoded = encoderLayer(graph, embedded, parameters, 'layer', SHAPE, keyMask(graph, mask), undefined);
  const logits = linear(graph, meanPool(graph, encoded, mask), parameters, 'head');
  const weights = graph.constant(vectorOf('float32', Array(BATCH).fill(1)));
  return softCrossEntropy(graph, logits, graph.input('targets', 'float32', [BATCH, CLASSES]), weights, 0);
}

const DEFINITION: TrainingDefinition = {
  name: 'buckets',
  adamW: { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, weightDecay: 0.01, clipNorm: 1 },
  loss,
  parameters: PARAMETERS.map((spec) =>
    spec.name === 'embeddings.tokens'
      ? { ...spec, rows: { input: 'tokens', atMost: (bucket) => BATCH * (LENGTHS[bucket] as number) } }
      : spec,
  ),
};

const start = (): TrainingState =>
  initialState(
    Object.fromEntries(
      PARAMETERS.map(({ name, dims, start }, p) => [
        name,
        Float32Array.from({ length: elementCount(dims) }, (_, i) =>
          'constant' in start ? start.constant : 0.3 * Math.sin(1.7 * i + p),
        ),
      ]),
    ),
  );

/** Texts of a bucket's lengths, padded to a length. */
function batch(step: number, padTo?: number): { inputs: Record<string, TensorValue>; bucket: number } {
  const bucket = (step * 2) % LENGTHS.length;
  const length = padTo ?? (LENGTHS[bucket] as number);
  const texts = Array.from({ length: BATCH }, (_, row) =>
    Array.from({ length: (LENGTHS[bucket] as number) - row }, (_, i) => (step * 5 + row * 11 + i * 3) % VOCABULARY),
  );
  const padded = (of: (token: number) => number): number[] =>
    texts.flatMap((text) => [...text.map(of), ...Array(length - text.length).fill(0)]);
  const targets = texts.flatMap(([first]) => ((first as number) % 2 ? [0, 1] : [1, 0]));
  return {
    bucket,
    inputs: {
      tokens: vectorOf(
        'int64',
        padded((token) => token),
        [BATCH, length],
      ),
      mask: vectorOf(
        'int64',
        padded(() => 1),
        [BATCH, length],
      ),
      targets: tensor('float32', [BATCH, CLASSES], Float32Array.from(targets)),
    },
  };
}

async function train(from: TrainingState, steps: number, padTo?: number) {
  const training = await TrainingSession.open(DEFINITION, from, { threads: 2 });
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const { inputs, bucket } = batch(training.step, padTo);
    losses.push(await training.run(inputs, 1, 0.003, padTo ? LENGTHS.indexOf(padTo) : bucket));
  }
  const end = await training.state();
  await training.release();
  return { losses, end };
}

it('trains the same parameters with each bucket’s own model as with all texts padded to the longest', async () => {
  const [bucketed, padded] = [await train(start(), 24), await train(start(), 24, 12)];
  for (const [i, value] of bucketed.losses.entries()) expect(value).toBeCloseTo(padded.losses[i] as number, 3);
  for (const { name } of PARAMETERS.filter((spec) => spec.name !== 'embeddings.tokens')) {
    const [ours, theirs] = [bucketed.end, padded.end].map(({ tensors }) => tensors[`${name}.value`] as Float32Array);
    for (const [i, value] of (ours as Float32Array).entries()) {
      expect(value, `${name}[${i}]`).toBeCloseTo((theirs as Float32Array)[i] as number, 2);
    }
  }
});

it('goes on from a state, wherever in the order of buckets, to the same bits', async () => {
  const whole = await train(start(), 20);
  const first = await train(start(), 8);
  const rest = await train(first.end, 12);
  expect(rest.end).toEqual(whole.end);
  expect([...first.losses, ...rest.losses]).toEqual(whole.losses);
});
