/** What the fake teacher answers, and prompts that a student can learn it from. */

interface OutputSchema {
  properties?: Record<string, { enum?: string[] }>;
}

/** The label at (sum of the first word's character codes) mod (number of labels): simple enough for n-grams, yet a function of the text. */
export const labelOf = (text: string, labels: readonly string[]): string => {
  const word = text.trimStart().split(/\s/, 1)[0]!;
  let sum = 0;
  for (let index = 0; index < word.length; index += 1) sum += word.charCodeAt(index);
  return labels[sum % labels.length]!;
};

/** The answer as JSON for the schema's one enum field. */
export const answerOf = (text: string, schema: object): string => {
  const [field, { enum: labels }] = Object.entries((schema as OutputSchema).properties ?? {})[0] ?? ['label', {}];
  return JSON.stringify({ [field]: labels ? labelOf(text, labels) : 'none' });
};

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
