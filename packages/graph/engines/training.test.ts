import { describe, expect, it } from 'vitest';
import { DivergedError } from '../errors.ts';
import type { Graph, Value } from '../graph.ts';
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
} from '../layers.ts';
import { softCrossEntropy } from '../loss.ts';
import { checkDevice, type Device } from '../session.ts';
import { elementCount, type TensorValue, tensor, vectorOf } from '../tensor.ts';
import { initialState, type TrainingState } from '../training-session.ts';
import type { Clock, TrainingDefinition } from '../training-step.ts';
import { type EngineOptions, openTraining } from './engine.ts';
import { lackOf } from './tfjs/packages.ts';

const [BATCH, LENGTH, VOCABULARY, WIDTH, CLASSES, STEPS] = [8, 6, 100, 8, 3, 40];
const SEED = 2026;
/** On WebGPU, where a processor may stand in for the GPU. */
const FEW_STEPS = 6;
/**
 * Both engines compute in float32 and add up in different orders. What rounding leaves, 4e-5 in the losses and 1.4e-4 in
 * weights after 40 steps of 0.01, is a hundredth of what a forgotten mask or decay comes to.
 */
const [LOSS_TOLERANCE, WEIGHT_TOLERANCE] = [1e-4, 5e-4];
/** A softmax does not see what is added to all of its scores: this gradient is rounding, which AdamW blows up to steps. */
const WITHOUT_GRADIENT = 'layer.0.attention.key.bias';

type Body = (graph: Graph, parameters: Readonly<Record<string, Value>>, clock: Clock) => Value;
type Student = {
  readonly name: string;
  readonly parameters: readonly LayerParameter[];
  readonly logits: Body;
  readonly clipNorm?: number;
};

const head = linearParameters('head', WIDTH, CLASSES);
const table: LayerParameter = { name: 'table', dims: [VOCABULARY, WIDTH], decay: false, start: { bound: 0.5 } };
const tokensOf = (graph: Graph): Value => graph.input('tokens', 'int64', [BATCH, LENGTH]);

/** Rows of a table by id, repeated ones among them, dropped out and averaged. */
const bag: Student = {
  name: 'bag',
  parameters: [table, ...head],
  logits: (graph, parameters, clock) => {
    const rows = graph.node('Gather', [parameters.table as Value, tokensOf(graph)]);
    const dropped = graph.node('Mul', [rows, clock.mask('rows', [BATCH, LENGTH, WIDTH], 0.2)]);
    const axes = graph.constant(vectorOf('int64', [1]));
    return linear(graph, graph.node('ReduceMean', [dropped, axes], { keepdims: 0 }), parameters, 'head');
  },
};

/** The same, seeing only the rows that a batch uses, in two buckets, its gradients clipped. */
const rows: Student = {
  ...bag,
  name: 'rows',
  parameters: [{ ...table, rows: { input: 'tokens', atMost: (bucket) => (bucket === 0 ? 48 : 60) } }, ...head],
  clipNorm: 0.05,
};

const SHAPE = { width: WIDTH, heads: 2, feedForward: 16 };
const transformer: Student = {
  name: 'transformer',
  parameters: [
    ...embeddingParameters('embeddings', VOCABULARY, LENGTH, WIDTH),
    ...encoderLayerParameters('layer.0', SHAPE),
    ...head,
  ],
  logits: (graph, parameters, { mask }) => {
    const tokens = tokensOf(graph);
    const kept = graph.input('attention_mask', 'int64', [BATCH, LENGTH]);
    const positions = graph.constant(vectorOf('int64', [...Array(LENGTH).keys()]));
    const dropped = { rate: 0.1, mask };
    const embedded = embedTokens(graph, tokens, positions, parameters, 'embeddings', dropped);
    const encoded = encoderLayer(graph, embedded, parameters, 'layer.0', SHAPE, keyMask(graph, kept), dropped);
    return linear(graph, meanPool(graph, encoded, kept), parameters, 'head');
  },
};

const conv: Student = {
  name: 'conv',
  parameters: [
    table,
    { name: 'filters', dims: [WIDTH, WIDTH, 3], decay: true, start: { bound: 0.4 } },
    { name: 'offsets', dims: [WIDTH], decay: false, start: { constant: 0.1 } },
    ...head,
  ],
  logits: (graph, parameters, clock) => {
    const rows = graph.node('Gather', [parameters.table as Value, tokensOf(graph)]);
    const channels = graph.node('Transpose', [rows], { perm: [0, 2, 1] });
    const filtered = graph.node('Conv', [channels, parameters.filters as Value, parameters.offsets as Value], {
      pads: [1, 1],
    });
    const pooled = graph.node('MaxPool', [graph.node('Relu', [filtered])], { kernel_shape: [LENGTH] });
    const flat = graph.node('Flatten', [pooled]);
    const dropped = graph.node('Mul', [flat, clock.mask('pooled', [BATCH, WIDTH], 0.2)]);
    return linear(graph, dropped, parameters, 'head');
  },
};

const definitionOf = ({ name, parameters, logits, clipNorm }: Student): TrainingDefinition => ({
  name,
  parameters,
  adamW: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, ...(clipNorm && { clipNorm }) },
  loss: (graph, values, clock) =>
    softCrossEntropy(
      graph,
      logits(graph, values, clock),
      graph.input('targets', 'float32', [BATCH, CLASSES]),
      graph.input('weights', 'float32', [BATCH]),
      0.05,
    ),
});

/** Values of no symmetry within a parameter's bounds. */
const startOf = ({ parameters }: Student): TrainingState =>
  initialState(
    Object.fromEntries(
      parameters.map(({ name, dims, start }, phase) => [
        name,
        Float32Array.from({ length: elementCount(dims) }, (_, i) =>
          'constant' in start ? start.constant : start.bound * Math.sin(1.7 * i + phase),
        ),
      ]),
    ),
  );

/** Texts whose first token says the label; the last one has no weight, and texts differ in length. */
function batchOf(step: number, withMask: boolean): Record<string, TensorValue> {
  const tokens = Array.from({ length: BATCH * LENGTH }, (_, i) => (i * 7 + step * 11 + (i % 3) * 5) % VOCABULARY);
  const targets = new Float32Array(BATCH * CLASSES);
  for (let row = 0; row < BATCH; row++) targets[row * CLASSES + ((tokens[row * LENGTH] as number) % CLASSES)] = 1;
  const kept = tokens.map((_, i) => Number(i % LENGTH < 3 + (Math.floor(i / LENGTH) % 4)));
  return {
    tokens: vectorOf('int64', tokens, [BATCH, LENGTH]),
    targets: tensor('float32', [BATCH, CLASSES], targets),
    weights: tensor('float32', [BATCH], new Float32Array(BATCH).fill(1).fill(0, BATCH - 1)),
    ...(withMask && { attention_mask: vectorOf('int64', kept, [BATCH, LENGTH]) }),
  };
}

async function train(student: Student, options: EngineOptions, state = startOf(student), steps = STEPS) {
  const training = await openTraining(definitionOf(student), state, options);
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const bucket = student === rows ? i % 2 : 0;
    losses.push(await training.run(batchOf(training.step, student === transformer), SEED, 0.01, bucket));
  }
  const end = await training.state();
  await training.release();
  return { losses, end };
}

function expectClose(theirs: ArrayLike<number>, ours: ArrayLike<number>, tolerance: number, what: string): void {
  expect(theirs.length, what).toBe(ours.length);
  const apart = Array.from(ours, (value, i) => Math.abs(value - (theirs[i] as number)));
  expect(Math.max(...apart), `${what}: largest difference`).toBeLessThan(tolerance);
}

function expectSameWeights(student: Student, theirs: TrainingState, ours: TrainingState): void {
  for (const { name } of student.parameters) {
    const [other, mine] = [theirs, ours].map(({ tensors }) => tensors[`${name}.value`] as Float32Array);
    if (name !== WITHOUT_GRADIENT) expectClose(other as Float32Array, mine as Float32Array, WEIGHT_TOLERANCE, name);
  }
}

const usable = (device: Device): Promise<boolean> =>
  checkDevice(device).then(
    () => true,
    () => false,
  );

const ORT: EngineOptions = { engine: 'ort', threads: 1 };
const TFJS: EngineOptions = { engine: 'tfjs', backend: 'wasm', threads: 1 };

describe.each([bag, rows, transformer, conv])('$name, dropout and all', (student) => {
  it('trains on tfjs as on ort: the same losses, the same weights', async () => {
    const [ours, theirs] = [await train(student, ORT), await train(student, TFJS)];
    expect(ours.losses.at(-1)).toBeLessThan(0.8 * (ours.losses[0] as number));
    expectClose(theirs.losses, ours.losses, LOSS_TOLERANCE, 'losses');
    expectSameWeights(student, theirs.end, ours.end);
  });
});

it.skipIf(lackOf('node'))('trains on the TensorFlow library as on ort', async () => {
  for (const student of [bag, rows, transformer, conv]) {
    const [ours, theirs] = [await train(student, ORT), await train(student, { ...TFJS, backend: 'node' })];
    expectClose(theirs.losses, ours.losses, LOSS_TOLERANCE, 'losses');
    expectSameWeights(student, theirs.end, ours.end);
  }
});

describe.skipIf(!(await usable('webgpu')))('on WebGPU, with the state in its memory', () => {
  // Not conv: ONNX Runtime's MaxPool for WebGPU does not give the places that its gradient needs.
  it.each([bag, rows, transformer])('$name trains as on the CPU', async (student) => {
    const start = startOf(student);
    const ours = await train(student, ORT, start, FEW_STEPS);
    const theirs = await train(student, { ...ORT, device: 'webgpu' }, start, FEW_STEPS);
    expectClose(theirs.losses, ours.losses, LOSS_TOLERANCE, 'losses');
    expectSameWeights(student, theirs.end, ours.end);
  });

  it('goes on from a state of the CPU, and the CPU from its state', async () => {
    const whole = await train(bag, ORT);
    const first = await train(bag, { ...ORT, device: 'webgpu' }, startOf(bag), FEW_STEPS);
    const rest = await train(bag, ORT, first.end, STEPS - FEW_STEPS);
    expectSameWeights(bag, rest.end, whole.end);
  });
});

describe('a training on tfjs', () => {
  it('goes on from a state of ort, and ort from its state', async () => {
    const whole = await train(bag, ORT);
    const first = await train(bag, ORT, startOf(bag), 15);
    const second = await train(bag, TFJS, first.end, 15);
    const third = await train(bag, ORT, second.end, STEPS - 30);
    expectClose([...first.losses, ...second.losses, ...third.losses], whole.losses, LOSS_TOLERANCE, 'losses');
    expectSameWeights(bag, third.end, whole.end);
  });

  it('gives the same bits again, and after being stopped and continued', async () => {
    const whole = await train(conv, TFJS);
    const first = await train(conv, TFJS, startOf(conv), 17);
    const rest = await train(conv, TFJS, first.end, STEPS - 17);
    expect(rest.end).toEqual(whole.end);
    expect([...first.losses, ...rest.losses]).toEqual(whole.losses);
  });

  it('keeps its backend when another training takes another one in between', async () => {
    const alone = await train(bag, TFJS, startOf(bag), 3);
    const [onWasm, onCpu] = [
      await openTraining(definitionOf(bag), startOf(bag), TFJS),
      await openTraining(definitionOf(bag), startOf(bag), { ...TFJS, backend: 'cpu' }),
    ];
    const losses: number[] = [];
    for (let step = 0; step < 3; step++) {
      losses.push(await onWasm.run(batchOf(step, false), SEED, 0.01));
      await onCpu.run(batchOf(step, false), SEED, 0.01);
    }
    expect(losses).toEqual(alone.losses);
    expectClose(await onCpu.read('table'), await onWasm.read('table'), WEIGHT_TOLERANCE, 'table');
    await onWasm.release();
    await onCpu.release();
  });

  it('leaves nothing behind in tfjs', async () => {
    const { memory } = await import('@tensorflow/tfjs-core');
    const before = memory().numTensors;
    await train(transformer, TFJS, startOf(transformer), 2);
    expect(memory().numTensors).toBe(before);
  });

  it('does not take a step that diverges', async () => {
    const training = await openTraining(definitionOf(rows), startOf(rows), TFJS);
    await training.run(batchOf(0, false), SEED, 0.01);
    const before = await training.state();
    const weights = tensor('float32', [BATCH], new Float32Array(BATCH));
    await expect(training.run({ ...batchOf(1, false), weights }, SEED, 0.01)).rejects.toThrow(DivergedError);
    expect(await training.state()).toEqual(before);
    await training.run(batchOf(1, false), SEED, 0.01);
    expect(training.step).toBe(2);
    await training.release();
  });

  it('refuses a loss that does not depend on a parameter', async () => {
    const idle = { ...bag, parameters: [...bag.parameters, { ...table, name: 'idle' }] };
    const opened = openTraining(definitionOf(idle), startOf(idle), TFJS);
    await expect(opened).rejects.toThrow('model "bag": the loss does not depend on "idle.value"');
  });

  it('refuses a state that does not fit, and names that are not there', async () => {
    const { tensors } = startOf(bag);
    const wrong = { step: 0, tensors: { ...tensors, 'table.first': new Float32Array(2) } };
    await expect(openTraining(definitionOf(bag), wrong, TFJS)).rejects.toThrow(
      'state tensor "table.first": expected 800 values, got 2',
    );
    const training = await openTraining(definitionOf(bag), startOf(bag), TFJS);
    await expect(training.read('tables')).rejects.toThrow('no parameter "tables" in this training');
    const { tokens: _, ...without } = batchOf(0, false);
    await expect(training.run(without, SEED, 0.01)).rejects.toThrow(
      'model "bag" needs a tensor for its input "tokens"',
    );
    await training.release();
  });

  it.runIf(lackOf('node-gpu'))('refuses a backend that is not installed, with what to do', async () => {
    const opened = openTraining(definitionOf(bag), startOf(bag), { ...TFJS, backend: 'node-gpu' });
    await expect(opened).rejects.toThrow(lackOf('node-gpu'));
  });
});
