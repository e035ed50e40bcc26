/** What the fake teacher answers, and prompts that a student can learn it from. */

/** As much of JSON Schema as output schemas use. */
interface Schema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  items?: Schema;
  minItems?: number;
  minimum?: number;
}

/**
 * The label at (sum of the first word's character codes) mod (number of labels): simple enough for n-grams, yet a function of the text.
 * @param turn of a teacher that has changed its mind: so many labels further
 */
export const labelOf = <Label>(text: string, labels: readonly Label[], turn = 0): Label => {
  const word = text.trimStart().split(/\s/, 1)[0]!;
  let sum = turn;
  for (let index = 0; index < word.length; index += 1) sum += word.charCodeAt(index);
  return labels[sum % labels.length]!;
};

/** An answer that fits the schema, the same for the same text. A string is the text's first word, as one that is copied from it. */
const fitting = (text: string, schema: Schema, turn: number): unknown => {
  if (schema.enum) return labelOf(text, schema.enum, turn);
  if ('const' in schema) return schema.const;
  if (schema.anyOf) return fitting(text, schema.anyOf[0]!, turn);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  const { properties = {}, items = {}, minItems = 1, minimum = 0 } = schema;
  if (type === 'object')
    return Object.fromEntries(Object.entries(properties).map(([key, of]) => [key, fitting(text, of, turn)]));
  if (type === 'array') return Array.from({ length: minItems }, () => fitting(text, items, turn));
  if (type === 'boolean') return text.length % 2 === 0;
  if (type === 'number' || type === 'integer') return minimum;
  return type === 'null' ? null : text.trimStart().split(/\s/, 1)[0];
};

/** The answer as JSON; one that fits no schema where none is given. */
export const answerOf = (text: string, schema: Schema, turn = 0): string =>
  JSON.stringify(schema.properties ? fitting(text, { type: 'object', ...schema }, turn) : { label: 'none' });

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
