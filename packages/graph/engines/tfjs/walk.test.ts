import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { differentiate } from '../../differentiate.ts';
import { GRADIENT_CASES, type GradientCase, weightedSum } from '../../gradient-cases.ts';
import { GRADIENT_RULES, GRADIENT_RULES_OF_SEVERAL } from '../../gradients.ts';
import { Graph } from '../../graph.ts';
import { ALONG_AXES } from '../../operators/along-axes.ts';
import { ELEMENTWISE } from '../../operators/elementwise.ts';
import { INDEXING } from '../../operators/indexing.ts';
import { LAYOUT } from '../../operators/layout.ts';
import { PRODUCTS } from '../../operators/products.ts';
import { serialize } from '../../serialize.ts';
import { openSession, toRuntime } from '../../session.ts';
import { scalar } from '../../tensor.ts';
import { activate } from './backends.ts';
import { toTfjs } from './context.ts';
import { lackOf, TFJS_BACKENDS } from './packages.ts';
import { WALKS, Walker } from './walk.ts';

/** tfjs computes in float32, our side of the comparison in float64: this is some ten roundings of values near one. */
const TOLERANCE = 2e-6;

/** Loss and gradients of a case, by our rules in ONNX Runtime in float64, and by tfjs from the same forward graph. */
async function both({ inputs, build }: GradientCase): Promise<{ ours: number[][]; theirs: number[][] }> {
  const graph = new Graph('comparison');
  const values = inputs.map(({ type, dims }, i) => graph.input(`x${i}`, type, dims));
  const loss = weightedSum(graph, build(graph, values));
  const walker = new Walker(graph, loss);
  const tensors = inputs.map((input) => toTfjs(input));
  const { value, grads } = tf.valueAndGrads((...xs: tf.Tensor[]) =>
    tf.reshape<tf.Rank.R0>(walker.run(new Map(xs.map((x, i) => [`x${i}`, x]))), []),
  )(tensors);
  const theirs = [value, ...grads].map((tensor) => Array.from(tensor.dataSync<'float32'>()));

  graph.output('loss', loss);
  for (const [i, gradient] of differentiate(graph, loss, values).entries()) graph.output(`gradient${i}`, gradient);
  const session = await openSession(serialize(graph), { threads: 1 });
  const result = await session.run(Object.fromEntries(inputs.map((input, i) => [`x${i}`, toRuntime(input)])));
  await session.release();
  const ours = ['loss', ...inputs.map((_, i) => `gradient${i}`)].map((name) =>
    Array.from(result[name]?.data as Float64Array),
  );
  return { ours, theirs };
}

function expectClose(theirs: readonly number[], ours: readonly number[], what: string): void {
  expect(theirs.length, what).toBe(ours.length);
  for (const [i, expected] of ours.entries()) {
    const difference = Math.abs((theirs[i] as number) - expected) / Math.max(1, Math.abs(expected));
    expect(difference, `${what}, element ${i}: ours ${expected}, theirs ${theirs[i]}`).toBeLessThan(TOLERANCE);
  }
}

/** TensorFlow's own library is checked where it is installed. */
const BACKENDS = TFJS_BACKENDS.filter((backend) => backend !== 'node-gpu' && !lackOf(backend));

describe.each(BACKENDS)('gradients agree with those of tfjs on %s', (backend) => {
  beforeAll(() => activate(backend, { threads: 1 }));

  for (const gradientCase of GRADIENT_CASES) {
    it(`${gradientCase.operator} ${gradientCase.variant ?? ''}`, async () => {
      const { ours, theirs } = await both(gradientCase);
      for (const [i, expected] of ours.entries()) {
        expectClose(theirs[i] as number[], expected, i === 0 ? 'loss' : `gradient of input ${i - 1}`);
      }
    });
  }
});

it('every gradient rule has a walk', () => {
  const rules = [...Object.keys(GRADIENT_RULES), ...Object.keys(GRADIENT_RULES_OF_SEVERAL)];
  expect(rules.filter((operator) => !WALKS[operator])).toEqual([]);
});

/** What no forward pass of a training holds. */
const UNWALKED = {
  BitShift: 'hashing, which has its own graph',
  BitwiseAnd: 'hashing',
  BitwiseXor: 'hashing',
  MatMulInteger: 'quantised weights',
  DequantizeLinear: 'quantised weights',
  ConvTranspose: 'the gradient of a convolution',
  ScatterND: 'no gradient rule, and none of the encoders has it',
};

it('every known operator has a walk, or a reason to have none', () => {
  const known = Object.keys({ ...ELEMENTWISE, ...PRODUCTS, ...ALONG_AXES, ...LAYOUT, ...INDEXING });
  expect(known.filter((operator) => !WALKS[operator]).sort()).toEqual(Object.keys(UNWALKED).sort());
});

it('an operator that tfjs lacks is refused with operator, node, model and engine', () => {
  const graph = new Graph('hashing');
  const x = graph.input('x', 'uint64', []);
  const shifted = graph.node('BitShift', [x, graph.constant(scalar('uint64', 3))], { direction: 'RIGHT' });
  expect(() => new Walker(graph, shifted)).toThrow(
    'BitShift node "BitShift_1" of model "hashing" on the engine tfjs: tfjs has no such operator; train with the engine ort',
  );
});

it('an integer wider than int32 is refused', () => {
  expect(() => toTfjs(scalar('int64', 2 ** 31))).toThrow(
    'tfjs has no integers wider than int32; element 0 is 2147483648',
  );
});
