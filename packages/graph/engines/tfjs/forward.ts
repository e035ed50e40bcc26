import type * as tf from '@tensorflow/tfjs-core';
import { hostMask, type MaskSpec } from '../../dropout.ts';
import { GraphError } from '../../errors.ts';
import { Graph, type Value } from '../../graph.ts';
import { tensor } from '../../tensor.ts';
import { stateInput, stepDims, type TrainingDefinition } from '../../training-step.ts';
import { toTfjs } from './context.ts';
import { Walker } from './walk.ts';

const maskInput = (name: string): string => `${name}.mask`;

/** The forward pass of one bucket, which tfjs walks. The dropout masks that it draws come from the host. */
export class Forward {
  readonly #walker: Walker;
  readonly #masks: MaskSpec[] = [];

  /** @throws GraphError when a node cannot be walked, or the loss does not depend on a parameter. */
  constructor({ name, parameters, loss }: TrainingDefinition, bucket: number) {
    const graph = new Graph(name);
    const mask = (maskName: string, dims: readonly number[], rate: number): Value => {
      this.#masks.push({ name: maskName, dims, rate });
      return graph.input(maskInput(maskName), 'float32', dims);
    };
    const inputs = parameters.map((spec) =>
      graph.input(stateInput(spec.name, 'value'), 'float32', stepDims(spec, bucket)),
    );
    const byName = Object.fromEntries(parameters.map((spec, i) => [spec.name, inputs[i] as Value]));
    this.#walker = new Walker(graph, loss(graph, byName, { mask, bucket }));
    const unused = inputs.find((input) => !this.#walker.needs(input));
    if (unused) throw new GraphError(`model "${name}": the loss does not depend on "${unused.name}"`);
  }

  /** The masks of a step. */
  masks(seed: number, step: number): [name: string, mask: tf.Tensor][] {
    return this.#masks.map((spec) => [
      maskInput(spec.name),
      toTfjs(tensor('float32', spec.dims, hostMask(spec, seed, step))),
    ]);
  }

  /** The loss, from parameters, masks and batch by the names of the graph's inputs. */
  loss(inputs: ReadonlyMap<string, tf.Tensor>): tf.Tensor {
    return this.#walker.run(inputs);
  }

  dispose(): void {
    this.#walker.dispose();
  }
}
