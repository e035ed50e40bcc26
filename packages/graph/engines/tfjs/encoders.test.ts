import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { weightedSum } from '../../gradient-cases.ts';
import { importModel } from '../../import.ts';
import { splice } from '../../splice.ts';
import { type TensorValue, vectorOf } from '../../tensor.ts';
import { initialState } from '../../training-session.ts';
import { stateInput, type TrainingDefinition } from '../../training-step.ts';
import { type Engine, openTraining } from '../engine.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'fixtures');
const FIXTURES = readdirSync(FOLDER).filter((file) => file.endsWith('.onnx'));
const [BATCH, SEQUENCE] = [3, 8];
const ADAM_W = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };
/** Gradients of the fixtures reach 10; both sides compute them in float32, through two layers. */
const TOLERANCE = 1e-4;

const numbers = (value: (row: number, place: number) => number): TensorValue =>
  vectorOf(
    'int64',
    Array.from({ length: BATCH * SEQUENCE }, (_, i) => value(Math.floor(i / SEQUENCE), i % SEQUENCE)),
    [BATCH, SEQUENCE],
  );
/** Different texts of 3, 5 and 7 tokens, padded. */
const BATCH_INPUTS: Readonly<Record<string, TensorValue>> = {
  input_ids: numbers((row, place) => 3 + (((row * SEQUENCE + place) * 7) % 47)),
  attention_mask: numbers((row, place) => Number(place < 3 + 2 * row)),
  token_type_ids: numbers((_, place) => Number(place > 2)),
};

it.each(FIXTURES)('tfjs walks %s, and its gradients are ours', async (file) => {
  const { graph: encoder, parameters } = await importModel(readFileSync(join(FOLDER, file)), {
    dims: { batch: BATCH, sequence: SEQUENCE },
  });
  const definition: TrainingDefinition = {
    name: file,
    adamW: ADAM_W,
    parameters: parameters.map(({ name, tensor }) => ({ name, dims: tensor.dims, decay: false })),
    loss: (graph, values) => {
      const inputs = encoder.inputs.map(
        (input) => [input.name, graph.input(input.name, input.type, input.shape)] as const,
      );
      const { last_hidden_state } = splice(graph, encoder, { ...Object.fromEntries(inputs), ...values });
      return weightedSum(graph, last_hidden_state as NonNullable<typeof last_hidden_state>);
    },
  };
  const batch = Object.fromEntries(encoder.inputs.map(({ name }) => [name, BATCH_INPUTS[name] as TensorValue]));
  const start = initialState(
    Object.fromEntries(parameters.map(({ name, tensor }) => [name, tensor.data as Float32Array])),
  );
  const oneStep = async (engine: Engine) => {
    const training = await openTraining(definition, start, { engine, threads: 1 });
    const loss = await training.run(batch, 1, 0.01);
    const { tensors } = await training.state();
    await training.release();
    return { loss, tensors };
  };
  const [ours, theirs] = [await oneStep('ort'), await oneStep('tfjs')];
  expect(Math.abs(theirs.loss - ours.loss)).toBeLessThan(TOLERANCE * Math.max(1, Math.abs(ours.loss)));
  let largest = 0;
  for (const { name } of parameters) {
    // After one step the sum of gradients is the gradient.
    const [mine, other] = [ours, theirs].map(({ tensors }) => tensors[stateInput(name, 'first')]);
    for (const [i, gradient] of (mine as Float32Array).entries()) {
      largest = Math.max(largest, Math.abs(gradient));
      const apart = Math.abs(gradient - ((other as Float32Array)[i] as number)) / Math.max(1, Math.abs(gradient));
      expect(apart, `${name}, element ${i}: ours ${gradient}`).toBeLessThan(TOLERANCE);
    }
  }
  expect(largest).toBeGreaterThan(0.1);
});
