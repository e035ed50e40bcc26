import { describe, expect, it } from 'vitest';
import { Graph, type Value } from './graph.ts';
import { splice } from './splice.ts';
import { vectorOf } from './tensor.ts';

/** y = relu(x · weight), and z, which needs another input. */
function source(): Graph {
  const graph = new Graph('source');
  const x = graph.input('x', 'float32', ['batch', 2]);
  const product = graph.node('MatMul', [x, graph.constant(vectorOf('float32', [1, 2, 3, 4], [2, 2]), 'weight')]);
  graph.output('y', graph.node('Relu', [product]));
  graph.output('z', graph.node('Add', [product, graph.input('bias', 'float32', [2])]));
  return graph;
}

describe('splice', () => {
  it('copies what the outputs need, with bound values in place of inputs and constants, and infers anew', () => {
    const graph = new Graph('target');
    const [x, weight] = [graph.input('x', 'float32', [5, 2]), graph.input('w', 'float32', [2, 2])];
    const { y } = splice(graph, source(), { x, weight }, ['y']);
    expect(y?.shape).toEqual([5, 2]);
    expect(graph.nodes.map(({ operator }) => operator)).toEqual(['MatMul', 'Relu']);
    expect(graph.nodes[0]?.inputs).toEqual([x, weight]);
    expect(graph.constants).toEqual([]);
  });

  it('can put the same graph in twice', () => {
    const graph = new Graph('target');
    const x = graph.input('input', 'float32', [5, 2]);
    const first = splice(graph, source(), { x }, ['y']);
    const second = splice(graph, source(), { x: first.y as Value }, ['y']);
    expect(second.y?.shape).toEqual([5, 2]);
    expect(graph.constants.map(({ value }) => value.name)).toEqual(['weight', 'constant_1']);
    expect(new Set(graph.nodes.map(({ name }) => name)).size).toBe(4);
  });

  it('refuses inputs without a value, bindings of the wrong type, and names that are not there', () => {
    const graph = new Graph('target');
    const [x, ids] = [graph.input('x', 'float32', [5, 2]), graph.input('ids', 'int64', [5, 2])];
    expect(() => splice(graph, source(), { x })).toThrow(
      'input "bias" of model "source" is needed and nothing is bound',
    );
    expect(() => splice(graph, source(), { x: ids }, ['y'])).toThrow(
      '"x" of model "source": expected float32, got int64',
    );
    expect(() => splice(graph, source(), { x, X: x }, ['y'])).toThrow('has no input or constant "X"');
    expect(() => splice(graph, source(), { x }, ['logits'])).toThrow('has no output "logits"; it has y, z');
  });
});
