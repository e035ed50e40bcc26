/** What the fake teacher answers, and prompts that a student can learn it from. */

/** As much of JSON Schema as output schemas use. */
interface Schema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  minItems?: number;
  minimum?: number;
  maximum?: number;
  $ref?: string;
  $defs?: Record<string, Schema>;
}

const firstWord = (text: string): string => text.trimStart().split(/\s/, 1)[0]!;

/**
 * The label at (sum of the first word's character codes) mod (number of labels): simple enough for n-grams, yet a function of the text.
 * @param turn of a teacher that has changed its mind: so many labels further
 */
export const labelOf = <Label>(text: string, labels: readonly Label[], turn = 0): Label => {
  const word = firstWord(text);
  let sum = turn;
  for (let index = 0; index < word.length; index += 1) sum += word.charCodeAt(index);
  return labels[sum % labels.length]!;
};

interface Place {
  turn: number;
  /** Name of the field. */
  key: string;
  defs: Record<string, Schema> | undefined;
}

/**
 * An answer that fits the schema and, like a label, follows from the text's first word. A string is that word, as one
 * that is copied from it. What may be null is null, and what may be left out is there, for every third word, each field
 * for others.
 */
const fitting = (text: string, schema: Schema, place: Place): unknown => {
  const { turn, key, defs } = place;
  if (schema.$ref) return fitting(text, defs![schema.$ref.replace('#/$defs/', '')]!, place);
  if (schema.enum) return labelOf(text, schema.enum, turn);
  if ('const' in schema) return schema.const;
  if (schema.anyOf) return fitting(text, schema.anyOf[0]!, place);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  const { properties = {}, required = Object.keys(properties), items = {}, minItems = 1, minimum = 0 } = schema;
  const drawn = (name: string) => labelOf(firstWord(text) + name, [true, false, false]);
  if (drawn(key) && Array.isArray(schema.type) && schema.type.includes('null')) return null;
  if (type === 'object') {
    const there = Object.entries(properties).filter(([name]) => required.includes(name) || drawn(name));
    return Object.fromEntries(there.map(([name, of]) => [name, fitting(text, of, { ...place, key: name })]));
  }
  if (type === 'array') return Array.from({ length: minItems }, () => fitting(text, items, place));
  if (type === 'boolean') return labelOf(text, [true, false], turn);
  if (type === 'number' || type === 'integer') return labelOf(text, [minimum, schema.maximum ?? minimum], turn);
  return type === 'null' ? null : firstWord(text);
};

/** The answer as JSON; one that fits no schema where none is given. */
export const answerOf = (text: string, schema: Schema, turn = 0): string =>
  JSON.stringify(
    schema.properties
      ? fitting(text, { type: 'object', ...schema }, { turn, key: '', defs: schema.$defs })
      : { label: 'none' },
  );

/** An answer of one field that says this label; undefined without one. */
export const labelled = (schema: Schema, label: string | undefined): string | undefined =>
  label === undefined ? undefined : JSON.stringify({ [Object.keys(schema.properties ?? {})[0] ?? 'label']: label });

const subjects =
  'invoice parcel login refund password delivery charge account tracking address receipt card courier reset statement'.split(
    ' ',
  );
const fillers =
  'please help with my order from last week it never came and nobody answers the phone could you look again today'.split(
    ' ',
  );

/** Distinct texts of about 120 characters, the same for the same count. */
export const texts = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => {
    let state = (index + 1) * 2_654_435_761;
    const draw = (limit: number) => {
      state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) >>> 0;
      return (state >>> 8) % limit;
    };
    const words = Array.from({ length: 16 }, () => fillers[draw(fillers.length)]!);
    return `${subjects[draw(subjects.length)]!} ${words.join(' ')} number ${index}`;
  });
