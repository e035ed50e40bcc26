import { cast, Graph, type ImportedModel, importModel, type Parameters, splice, type Value } from '@understudy/graph';
import type { ParameterValues } from '../learner.ts';

const IDS = 'input_ids';
const MASK = 'attention_mask';
const TYPES = 'token_type_ids';
/** What exporters call the states of all tokens. */
const STATE_NAMES = ['last_hidden_state', 'token_embeddings'];

/** A weight of an encoder, and where in it. */
export type TrunkParameter = {
  readonly name: string;
  readonly dims: readonly number[];
  /** How much of the encoder lies before the first node that uses it, 0 (at the tokens) to 1 (at the states). */
  readonly depth: number;
};

/** An encoder as a graph whose weights are inputs, for one size of batches or for any. */
export type Trunk = {
  readonly parameters: readonly TrunkParameter[];
  /** Numbers of a token's state. */
  readonly width: number;
  /** The table whose rows token ids name, where nothing but that table reads the ids. */
  readonly tokenTable: string | undefined;
  /**
   * Emits the states [batch, length, width] of tokens [batch, length], of any integer type, under a mask of the same
   * shape: 1 for a token, 0 for padding.
   */
  readonly emit: (graph: Graph, tokens: Value, mask: Value, parameters: Parameters) => Value;
};

/** Batch and length of a training step; undefined for a graph that takes any. */
export type TrunkSize = { readonly batch: number; readonly length: number };

/** Where each constant is first used, as a share of all nodes. */
function depths({ nodes }: Graph): Map<string, number> {
  const places = new Map<string, number>();
  for (const [at, { inputs }] of nodes.entries()) {
    for (const input of inputs) if (input && !places.has(input.name)) places.set(input.name, at / nodes.length);
  }
  return places;
}

/** The table that alone reads the ids, and through nothing else. */
function tokenTableOf({ nodes }: Graph, ids: Value, parameters: ReadonlySet<string>): string | undefined {
  const readers = nodes.filter(({ inputs }) => inputs.some((input) => input?.name === ids.name));
  const [reader] = readers;
  if (readers.length !== 1 || reader?.operator !== 'Gather' || reader.inputs[1]?.name !== ids.name) return undefined;
  const table = reader.inputs[0]?.name ?? '';
  const others = nodes.filter((node) => node !== reader && node.inputs.some((input) => input?.name === table));
  return parameters.has(table) && others.length === 0 ? table : undefined;
}

function statesOf({ outputs }: Graph): Value & { output: string } {
  const ranked = outputs.filter(({ value }) => value.shape.length === 3);
  const found = ranked.find(({ name }) => STATE_NAMES.includes(name)) ?? ranked[0];
  if (!found) {
    const given = outputs.map(({ name, value }) => `${name} [${value.shape}]`).join(', ');
    throw new RangeError(`expected an output [batch, length, width] with the states of tokens; there are ${given}`);
  }
  return { ...found.value, output: found.name };
}

/** The names that a model has for its batch and its length. */
function dimensionsOf({ inputs }: Graph): [batch: string, length: string] {
  const ids = inputs.find(({ name }) => name === IDS);
  const [batch, length] = ids?.shape ?? [];
  if (typeof batch === 'string' && typeof length === 'string') return [batch, length];
  throw new RangeError(
    `expected an input ${IDS} [batch, length] of any size, got [${ids?.shape}]; export it with dynamic axes`,
  );
}

/** The same graph with its weights as inputs, so that it holds none of them. */
function withoutWeights({ graph: source, parameters }: ImportedModel, output: string): Graph {
  const graph = new Graph(source.name);
  const bindings = [
    ...source.inputs.map(({ name, type, shape }) => [name, graph.input(name, type, shape)] as const),
    ...parameters.map(({ name, tensor }) => [name, graph.input(name, 'float32', tensor.dims)] as const),
  ];
  const outputs = splice(graph, source, Object.fromEntries(bindings), [output]);
  graph.output(output, outputs[output] as Value);
  return graph;
}

function trunkOf(imported: ImportedModel): Trunk {
  const { graph: source } = imported;
  const foreign = source.inputs.find(({ name }) => ![IDS, MASK, TYPES].includes(name));
  if (foreign) throw new RangeError(`expected the inputs ${IDS}, ${MASK} and ${TYPES}, got "${foreign.name}"`);
  const { output, shape } = statesOf(source);
  const width = shape[2];
  if (typeof width !== 'number') throw new RangeError(`the width of the states "${output}" is not known`);
  const graph = withoutWeights(imported, output);
  const places = depths(graph);
  const names = new Set(imported.parameters.map(({ name }) => name));
  const ids = graph.inputs.find(({ name }) => name === IDS) as Value;
  return {
    width,
    parameters: imported.parameters.map(({ name, tensor }) => ({
      name,
      dims: tensor.dims,
      depth: places.get(name) ?? 0,
    })),
    tokenTable: tokenTableOf(graph, ids, names),
    emit: (target, tokens, mask, parameters) => {
      const inputs: Record<string, Value> = {
        [IDS]: cast(target, tokens, 'int64'),
        [MASK]: cast(target, mask, 'int64'),
      };
      const types = graph.inputs.some(({ name }) => name === TYPES);
      // A student reads one text at a time: all of it is of type 0.
      if (types) inputs[TYPES] = target.node('Sub', [inputs[IDS] as Value, inputs[IDS] as Value]);
      const weights = Object.fromEntries([...names].map((name) => [name, parameters[name] as Value]));
      const given = graph.inputs.map(({ name }) => [name, inputs[name] ?? weights[name]] as const);
      return splice(target, graph, Object.fromEntries(given) as Record<string, Value>)[output] as Value;
    },
  };
}

/**
 * Reads an encoder for batches of some sizes, and for any; and its weights.
 * @throws GraphError or RangeError for a model that is no encoder of tokens, or that cannot be differentiated.
 */
export async function importTrunk(
  model: Uint8Array,
  sizes: readonly TrunkSize[],
): Promise<{ readonly any: Trunk; readonly sized: readonly Trunk[]; readonly weights: ParameterValues }> {
  const dynamic = await importModel(model);
  const [batchName, lengthName] = dimensionsOf(dynamic.graph);
  const sized: Trunk[] = [];
  for (const { batch, length } of sizes) {
    sized.push(trunkOf(await importModel(model, { dims: { [batchName]: batch, [lengthName]: length } })));
  }
  const weights = dynamic.parameters.map(({ name, tensor }) => [name, tensor.data as Float32Array] as const);
  return { any: trunkOf(dynamic), sized, weights: Object.fromEntries(weights) };
}
