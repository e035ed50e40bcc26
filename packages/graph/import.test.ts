import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { differentiate } from './differentiate.ts';
import { cast, ints } from './emit.ts';
import { wave, weightedSum } from './gradient-cases.ts';
import { Graph, type Value } from './graph.ts';
import { importModel } from './import.ts';
import { serialize } from './serialize.ts';
import { openSession, toRuntime } from './session.ts';
import { copyValues, splice } from './splice.ts';
import { type TensorValue, vectorOf } from './tensor.ts';

const FOLDER = join(import.meta.dirname, 'fixtures');
const FIXTURES = readdirSync(FOLDER).filter((file) => file.endsWith('.onnx'));
const [BATCH, SEQUENCE] = [3, 8];
const DIMS = { batch: BATCH, sequence: SEQUENCE };

/** Weights of the architectures in fixtures/make.py; the exporters keep every one. */
const WEIGHTS: Readonly<Record<string, number>> = { bert: 37, distilbert: 36, roberta: 37, mpnet: 37, modernbert: 14 };

/** Different texts of 3, 5 and 7 tokens, padded. */
function feedsOf(graph: Graph): Record<string, TensorValue> {
  const tokens = (value: (row: number, place: number) => number): TensorValue =>
    vectorOf(
      'int64',
      Array.from({ length: BATCH * SEQUENCE }, (_, i) => value(Math.floor(i / SEQUENCE), i % SEQUENCE)),
      [BATCH, SEQUENCE],
    );
  const all: Record<string, TensorValue> = {
    input_ids: tokens((row, place) => 3 + (((row * SEQUENCE + place) * 7) % 47)),
    attention_mask: tokens((row, place) => Number(place < 3 + 2 * row)),
    token_type_ids: tokens((_, place) => Number(place > 2)),
  };
  return Object.fromEntries(graph.inputs.map(({ name }) => [name, all[name] as TensorValue]));
}

const runtimeFeeds = (tensors: Readonly<Record<string, TensorValue>>) =>
  Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, toRuntime(value)]));

async function hiddenState(model: Uint8Array, feeds: Readonly<Record<string, TensorValue>>): Promise<Float32Array> {
  const session = await openSession(model, { threads: 1 });
  const { last_hidden_state } = await session.run(runtimeFeeds(feeds));
  await session.release();
  expect(last_hidden_state?.dims).toEqual([BATCH, SEQUENCE, 16]);
  return last_hidden_state?.data as Float32Array;
}

function expectClose(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  expect(actual).toHaveLength(expected.length);
  const differences = Array.from(actual, (value, i) => Math.abs(value - (expected[i] as number)));
  expect(Math.max(...differences)).toBeLessThan(tolerance);
}

describe('an imported encoder computes what its file does', () => {
  for (const file of FIXTURES) {
    it(file, async () => {
      const original = readFileSync(join(FOLDER, file));
      const dynamic = await importModel(original);
      const fixed = await importModel(join(FOLDER, file), { dims: DIMS });
      const weights = WEIGHTS[file.split('-')[0] as string];
      expect(dynamic.parameters).toHaveLength(weights as number);
      expect(fixed.parameters.map(({ name }) => name)).toEqual(dynamic.parameters.map(({ name }) => name));
      expect(dynamic.graph.outputs[0]?.value.shape).toEqual(['batch', 'sequence', 16]);
      expect(fixed.graph.outputs[0]?.value.shape).toEqual([BATCH, SEQUENCE, 16]);
      expect(fixed.graph.nodes.filter(({ operator }) => operator === 'Shape')).toEqual([]);
      // Spelled out before operator set 17 and 20: a fused one for each in the architecture, and nothing left over.
      for (const { graph } of [dynamic, fixed]) {
        const count = (...operators: string[]) =>
          graph.nodes.filter(({ operator }) => operators.includes(operator)).length;
        expect([count('LayerNormalization'), count('Gelu'), count('Erf', 'Pow', 'ReduceMean')]).toEqual([5, 2, 0]);
      }
      const feeds = feedsOf(dynamic.graph);
      const expected = await hiddenState(original, feeds);
      expectClose(await hiddenState(serialize(dynamic.graph), feeds), expected, 1e-5);
      expectClose(await hiddenState(serialize(fixed.graph), feeds), expected, 1e-5);
    });
  }
});

/** All values of a graph as the runtime gives them, beside what was inferred of them. */
async function inferredAndReal(graph: Graph) {
  const copy = new Graph('every value');
  const inputs = graph.inputs.map((input) => [input.name, copy.input(input.name, input.type, input.shape)] as const);
  const values = graph.nodes.flatMap(({ outputs }) => outputs);
  const copies = copyValues(copy, graph, Object.fromEntries(inputs), values);
  for (const [i, value] of copies.entries()) copy.output(`value ${i}`, value);
  const session = await openSession(serialize(copy), { threads: 1 });
  const results = await session.run(runtimeFeeds(feedsOf(copy)));
  await session.release();
  return values.map((value, i) => ({ value, real: results[`value ${i}`] }));
}

describe('types and shapes are inferred as the runtime gives them', () => {
  const sizes: Readonly<Record<string, number>> = DIMS;
  for (const file of FIXTURES) {
    it(file, async () => {
      const path = join(FOLDER, file);
      for (const { graph } of [await importModel(path), await importModel(path, { dims: DIMS })]) {
        for (const { value, real } of await inferredAndReal(graph)) {
          const shape = value.shape.map((dim, axis) =>
            typeof dim === 'number' ? dim : (sizes[dim] ?? real?.dims[axis]),
          );
          expect([real?.type, real?.dims], value.name).toEqual([value.type, shape]);
        }
      }
    });
  }
});

/** Steps of unit length along a direction; see gradient-check.ts for the balance of float32. */
const STEP = 1e-2;
/** Of the gradient's length: float32 noise of the loss over the step, and curvature. */
const TOLERANCE = 2e-2;

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);

function unit(values: Float32Array): Float32Array {
  const length = Math.sqrt(dot(values, values));
  return values.map((value) => value / length);
}

/** A model of loss and gradients whose weights are inputs. */
async function lossAndGradients(file: string) {
  const { graph: encoder, parameters } = await importModel(join(FOLDER, file), { dims: DIMS });
  const graph = new Graph('gradients');
  const inputs = encoder.inputs.map((input) => [input.name, graph.input(input.name, input.type, input.shape)] as const);
  const weights = parameters.map(({ name, tensor }) => [name, graph.input(name, tensor.type, tensor.dims)] as const);
  const { last_hidden_state } = splice(graph, encoder, Object.fromEntries([...inputs, ...weights]));
  // Queries that see only padding lose their scores to the rounding of a mask of -3e38: differences do not see them.
  const mask = inputs.find(([name]) => name === 'attention_mask')?.[1] as Value;
  const kept = graph.node('Unsqueeze', [cast(graph, mask, 'float32'), ints(graph, [2])]);
  const loss = weightedSum(graph, graph.node('Mul', [last_hidden_state as Value, kept]));
  graph.output('loss', loss);
  const gradients = differentiate(
    graph,
    loss,
    weights.map(([, value]) => value),
  );
  for (const [i, gradient] of gradients.entries()) graph.output(`gradient ${i}`, gradient);
  return { session: await openSession(serialize(graph), { threads: 1 }), parameters, feeds: feedsOf(encoder) };
}

/** The difference quotient of the loss when a weight moves along a direction. */
async function slope(
  session: InferenceSession,
  feeds: Readonly<Record<string, TensorValue>>,
  name: string,
  direction: Float32Array,
): Promise<number> {
  const at = async (distance: number): Promise<number> => {
    const weight = feeds[name] as TensorValue;
    const data = Float32Array.from(weight.data as Float32Array, (x, i) => x + distance * (direction[i] as number));
    const { loss } = await session.run(runtimeFeeds({ ...feeds, [name]: { ...weight, data } }), ['loss']);
    return Number(loss?.data[0]);
  };
  return ((await at(STEP)) - (await at(-STEP))) / (2 * STEP);
}

describe('a loss is differentiated through all weights of an imported encoder', () => {
  for (const file of FIXTURES) {
    it(file, async () => {
      const { session, parameters, feeds: tokens } = await lossAndGradients(file);
      const feeds = { ...tokens, ...Object.fromEntries(parameters.map(({ name, tensor }) => [name, tensor])) };
      const results = await session.run(runtimeFeeds(feeds));
      for (const [i, { name, tensor }] of parameters.entries()) {
        const gradient = results[`gradient ${i}`]?.data as Float32Array;
        const length = Math.sqrt(dot(gradient, gradient));
        const elsewhere = unit(Float32Array.from(wave([tensor.data.length], i).data as Float64Array));
        for (const direction of length > 1e-3 ? [unit(gradient), elsewhere] : [elsewhere]) {
          const numeric = await slope(session, feeds, name, direction);
          const error = Math.abs(numeric - dot(gradient, direction));
          expect(error, `${name}: gradient of length ${length}`).toBeLessThan(TOLERANCE * Math.max(length, 0.1));
        }
      }
      await session.release();
    });
  }
});
