import { describe, expect, it } from 'vitest';
import { differentiate } from './differentiate.ts';
import { ints, reduceSum } from './emit.ts';
import { GraphError, NoGradientError } from './errors.ts';
import { Graph, type GraphNode, type Value } from './graph.ts';
import { scalar } from './tensor.ts';

const x = (graph: Graph, shape: readonly (number | string)[] = [2, 3], name = 'x'): Value =>
  graph.input(name, 'float32', shape);

describe('a node that its operator cannot take is refused with operator, node and model named', () => {
  const cases: Record<string, (graph: Graph) => unknown> = {
    'Frobnicate node "Frobnicate_1" of model "m": unknown operator': (g) => g.node('Frobnicate', [x(g)]),
    'dimensions 3 and 2 do not broadcast': (g) => g.node('Add', [x(g), x(g, [2], 'y')]),
    'inner dimensions of [2,3] and [2,3]: 3 and 2 differ': (g) => g.node('MatMul', [x(g), x(g, [2, 3], 'y')]),
    'cannot be mixed': (g) => g.node('Add', [x(g), g.constant(scalar('int64', 1))]),
    'cannot reshape [2,3] to [4,-1]': (g) => g.node('Reshape', [x(g), ints(g, [4, -1])]),
    'axis 2 is outside a shape of rank 2': (g) => g.node('Softmax', [x(g)], { axis: 2 }),
    'expected an int64 constant': (g) => g.node('Unsqueeze', [x(g), g.input('axes', 'int64', [2])]),
    'expected integers of a known number': (g) => g.node('Reshape', [x(g), g.input('shape', 'int64', ['rank'])]),
    'no permutation': (g) => g.node('Transpose', [x(g)], { perm: [0, 0] }),
    'model "m" already has a value "x"': (g) => [x(g), x(g)],
    'model "m" already has a value "y"': (g) => [g.output('y', x(g)), x(g, [], 'y')],
  };
  for (const [message, build] of Object.entries(cases)) {
    it(message, () => {
      expect(() => build(new Graph('m'))).toThrow(GraphError);
      expect(() => build(new Graph('m'))).toThrow(message);
    });
  }
});

describe('shapes with named dimensions', () => {
  it('survive what keeps them and are forgotten by what may change them', () => {
    const graph = new Graph('m');
    const tokens = graph.input('tokens', 'int64', ['batch', 'sequence']);
    const table = graph.input('table', 'float32', [10, 4]);
    const embedded = graph.node('Gather', [table, tokens]);
    expect(embedded.shape).toEqual(['batch', 'sequence', 4]);
    expect(graph.node('Unsqueeze', [embedded, ints(graph, [1])]).shape).toEqual(['batch', 1, 'sequence', 4]);
    expect(graph.node('Pad', [tokens, ints(graph, [0, 1, 0, 0])]).shape).toEqual(['batch', '?']);
    expect(graph.node('Reshape', [embedded, ints(graph, [0, -1])]).shape).toEqual(['batch', '?']);
    expect(graph.node('Add', [tokens, graph.constant(scalar('int64', 1))]).shape).toEqual(['batch', 'sequence']);
  });
});

describe('a node with several outputs', () => {
  it('gives as many as are asked for, and further ones later', () => {
    const graph = new Graph('m');
    const parts = graph.nodeOutputs('Split', [x(graph, [2, 5]), ints(graph, [1, 4])], 2, { axis: -1 });
    expect(parts.map(({ shape }) => shape)).toEqual([
      [2, 1],
      [2, 4],
    ]);
    expect(graph.outputsOf(graph.nodes[0] as GraphNode, 1)).toEqual(parts);
    expect(() => graph.nodeOutputs('Relu', [x(graph, [2], 'y')], 2)).toThrow('gives 1 outputs, not 2');
  });
});

describe('differentiate refuses', () => {
  const sum = (graph: Graph, value: Value): Value => reduceSum(graph, value, [0, 1], 0);

  it('an operator without a rule, naming it, its node and the model', () => {
    const graph = new Graph('m');
    const parameter = x(graph);
    const loss = sum(graph, graph.node('Mod', [parameter, parameter]));
    expect(() => differentiate(graph, loss, [parameter])).toThrow(NoGradientError);
    expect(() => differentiate(graph, loss, [parameter])).toThrow(
      'operator Mod has no gradient rule (node "Mod_1" of model "m")',
    );
  });

  it('no operator that is off the path from parameters to loss', () => {
    const graph = new Graph('m');
    const [parameter, data] = [x(graph), x(graph, [2, 3], 'data')];
    const loss = sum(graph, graph.node('Mul', [parameter, graph.node('Mod', [data, data])]));
    expect(differentiate(graph, loss, [parameter])).toHaveLength(1);
  });

  it('a loss that is not a scalar', () => {
    const graph = new Graph('m');
    const parameter = x(graph);
    expect(() => differentiate(graph, parameter, [parameter])).toThrow('the loss must be a float scalar');
  });

  it('a parameter that the loss does not depend on', () => {
    const graph = new Graph('m');
    const [parameter, unused] = [x(graph), x(graph, [2], 'unused')];
    expect(() => differentiate(graph, sum(graph, parameter), [parameter, unused])).toThrow(
      'does not depend on "unused"',
    );
  });
});
