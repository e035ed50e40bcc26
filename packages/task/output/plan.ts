import { comparer, itemiser } from './agreement.ts';
import { type CompiledSchema, compileSchema } from './compile.ts';
import { decoder } from './decode.ts';
import { encoder } from './encode.ts';
import type { OutputPlan } from './head.ts';

/**
 * Compiles an output schema. One that has passed `OutputJsonSchema` has no faults.
 * @throws TypeError naming every fault of the schema with its key path
 */
export function outputPlan(schema: unknown): OutputPlan {
  const result = compileSchema(schema);
  if (!result.ok) {
    const faults = result.faults.map(({ path, message }) => `${path.join('.') || 'schema'}: ${message}`);
    throw new TypeError(`output schema cannot be compiled:\n${faults.join('\n')}`);
  }
  const { compiled } = result;
  const decode = decoder(compiled);
  const single = singleOf(compiled);
  const answers = single?.labels.map((label) => JSON.stringify({ [single.field]: label }));
  return {
    heads: compiled.heads,
    single,
    encode: encoder(compiled),
    decode: (values, text) => {
      const [value] = values;
      const known = answers && value?.kind === 'choice' ? answers[value.index] : undefined;
      return known ?? decode(values, text);
    },
    agreement: comparer(compiled),
    items: itemiser(compiled),
  };
}

function singleOf({ root, heads }: CompiledSchema): OutputPlan['single'] {
  const [field] = root.fields;
  const [head] = heads;
  if (root.fields.length !== 1 || field?.node.kind !== 'leaf' || head?.kind !== 'choice') return undefined;
  const labels = head.values.map((value) => (value.startsWith('"') ? (JSON.parse(value) as string) : undefined));
  return labels.every((label) => label !== undefined) ? { field: field.key, labels } : undefined;
}
