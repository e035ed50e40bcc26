/**
 * Inputs made from templates whose named slots are filled from lexicons. An entry of a lexicon may have slots of its own.
 *
 * In a template `{{city}}` is filled from the lexicon `city`, and holds the same text wherever the template (over all of its
 * fields) names it again; `{{from:city}}` is a slot of another name filled from the same lexicon.
 */

/** A text and how often it is drawn beside its siblings; a bare string has weight 1. */
export type WeightedText = string | { readonly text: string; readonly weight: number };

export interface Grammar {
  readonly templates: readonly { readonly fields: Readonly<Record<string, string>>; readonly weight: number }[];
  readonly lexicons: Readonly<Record<string, readonly WeightedText[]>>;
  readonly seed: number;
}

/** Derivations that are listed to count distinct inputs exactly, and to draw without loss where most are wanted. */
export const MAX_LISTED_DERIVATIONS = 200_000;
/** Draws in a row that gave nothing new, after which a grammar counts as exhausted. */
const MAX_FRUITLESS_DRAWS = 10_000;
/** Slots filled on the way to one input, nested ones included: each level may multiply them. */
const MAX_FILLED_SLOTS = 1_000;

const SLOT = /\{\{\s*([A-Za-z][\w-]*)\s*(?::\s*([A-Za-z][\w-]*)\s*)?\}\}/g;

type Part = string | { readonly slot: string; readonly lexicon: string };

/** A text cut at its slots. */
function partsOf(text: string): Part[] {
  const pieces = text.split(SLOT);
  const parts: Part[] = [];
  for (let i = 0; i < pieces.length; i += 3) {
    if (pieces[i]) parts.push(pieces[i] as string);
    const slot = pieces[i + 1];
    if (slot !== undefined) parts.push({ slot, lexicon: pieces[i + 2] ?? slot });
  }
  return parts;
}

const isSlot = (part: Part): part is Exclude<Part, string> => typeof part !== 'string';

/** The slots of several texts that share them, by name. */
function slotsOf(texts: readonly (readonly Part[])[]): Map<string, string> {
  return new Map(
    texts
      .flat()
      .filter(isSlot)
      .map(({ slot, lexicon }) => [slot, lexicon]),
  );
}

/** What is wrong with a grammar for a task with these fields, each with where it is; none where it can be used. */
export function grammarFaults(
  grammar: Omit<Grammar, 'seed'>,
  fields: readonly string[],
): { path: string[]; message: string }[] {
  const { templates, lexicons } = grammar;
  const faults: { path: string[]; message: string }[] = [];
  const known = new Set(Object.keys(lexicons));
  const check = (text: string, path: string[]) => {
    const named = new Map<string, string>();
    for (const part of partsOf(text).filter(isSlot)) {
      if (!known.has(part.lexicon)) {
        faults.push({
          path,
          message: `expected a lexicon named ${part.lexicon}, got none; add it, or correct the slot`,
        });
      }
      if ((named.get(part.slot) ?? part.lexicon) !== part.lexicon) {
        faults.push({
          path,
          message: `slot ${part.slot} is filled from two lexicons; give one of the slots another name`,
        });
      }
      named.set(part.slot, part.lexicon);
    }
  };
  templates.forEach((template, index) => {
    const given = Object.keys(template.fields);
    const [missing, extra] = [
      fields.filter((field) => !given.includes(field)),
      given.filter((field) => !fields.includes(field)),
    ];
    if (missing.length + extra.length > 0) {
      faults.push({
        path: ['templates', String(index), 'fields'],
        message: `expected exactly the fields of the input (${fields.join(', ')}), got ${given.join(', ')}; correct them`,
      });
    }
    for (const [field, text] of Object.entries(template.fields))
      check(text, ['templates', String(index), 'fields', field]);
  });
  for (const [name, entries] of Object.entries(lexicons)) {
    const texts = entries.map(textOf);
    texts.forEach((text, index) => {
      check(text, ['lexicons', name, String(index)]);
      if (texts.indexOf(text) < index) {
        faults.push({
          path: ['lexicons', name, String(index)],
          message: 'the same entry stands there before; remove one, or give it a weight',
        });
      }
    });
  }
  const cycle = faults.length === 0 ? cycleIn(lexicons) : undefined;
  if (cycle) {
    faults.push({
      path: ['lexicons', cycle[0] as string],
      message: `expected lexicons that end, got a circle: ${cycle.join(' → ')}; break it`,
    });
  } else if (faults.length === 0) {
    templates.forEach(({ fields }, index) => {
      const slots = slotsOf(Object.values(fields).map(partsOf));
      const filled = [...slots.values()].reduce((sum, name) => sum + slotsFilled(lexicons, name, new Map()), 0);
      if (filled <= MAX_FILLED_SLOTS) return;
      faults.push({
        path: ['templates', String(index)],
        message: `expected at most ${MAX_FILLED_SLOTS} slots to fill for one input, got ${filled}; nest fewer lexicons`,
      });
    });
  }
  return faults;
}

/** Most slots that one entry of a lexicon has filled, itself included. No circles. */
function slotsFilled(lexicons: Grammar['lexicons'], name: string, known: Map<string, number>): number {
  const before = known.get(name);
  if (before !== undefined) return before;
  const counts = (lexicons[name] ?? []).map((entry) =>
    [...slotsOf([partsOf(textOf(entry))]).values()].reduce(
      (sum, inner) => sum + slotsFilled(lexicons, inner, known),
      1,
    ),
  );
  const most = counts.reduce((max, count) => Math.max(max, count), 1);
  known.set(name, most);
  return most;
}

const textOf = (entry: WeightedText): string => (typeof entry === 'string' ? entry : entry.text);
const weightOf = (entry: WeightedText): number => (typeof entry === 'string' ? 1 : entry.weight);

/** A chain of lexicons that leads back to its beginning. */
function cycleIn(lexicons: Grammar['lexicons']): string[] | undefined {
  const done = new Set<string>();
  const visit = (name: string, above: readonly string[]): string[] | undefined => {
    if (above.includes(name)) return [...above.slice(above.indexOf(name)), name];
    if (done.has(name)) return undefined;
    done.add(name);
    const next = (lexicons[name] ?? []).flatMap((entry) => [...slotsOf([partsOf(textOf(entry))]).values()]);
    for (const lexicon of new Set(next)) {
      const found = visit(lexicon, [...above, name]);
      if (found) return found;
    }
    return undefined;
  };
  for (const name of Object.keys(lexicons)) {
    const found = visit(name, []);
    if (found) return found;
  }
  return undefined;
}

/** A grammar made ready. */
interface Compiled {
  readonly templates: readonly {
    readonly fields: readonly (readonly [string, readonly Part[]])[];
    readonly slots: Map<string, string>;
    readonly weight: number;
  }[];
  readonly lexicons: ReadonlyMap<
    string,
    readonly { readonly parts: readonly Part[]; readonly slots: Map<string, string>; readonly weight: number }[]
  >;
}

function compiled(grammar: Grammar): Compiled {
  const templates = grammar.templates.map(({ fields, weight }) => {
    const parts = Object.entries(fields).map(([field, text]) => [field, partsOf(text)] as const);
    return { fields: parts, slots: slotsOf(parts.map(([, each]) => each)), weight };
  });
  const lexicons = Object.entries(grammar.lexicons).map(([name, entries]) => {
    const made = entries.map((entry) => {
      const parts = partsOf(textOf(entry));
      return { parts, slots: slotsOf([parts]), weight: weightOf(entry) };
    });
    return [name, made] as const;
  });
  return { templates, lexicons: new Map(lexicons) };
}

/**
 * Ways to fill the templates: the number of distinct inputs, unless two ways give the same text. A grammar without faults
 * only: a circle never ends.
 */
export function derivations(grammar: Grammar): bigint {
  const { templates, lexicons } = compiled(grammar);
  const known = new Map<string, bigint>();
  const ofSlots = (slots: Map<string, string>): bigint =>
    [...slots.values()].reduce((product, name) => product * ofLexicon(name), 1n);
  const ofLexicon = (name: string): bigint => {
    const before = known.get(name);
    if (before !== undefined) return before;
    const count = (lexicons.get(name) ?? []).reduce((sum, { slots }) => sum + ofSlots(slots), 0n);
    known.set(name, count);
    return count;
  };
  return templates.reduce((sum, { slots }) => sum + ofSlots(slots), 0n);
}

export type GrammarInput = Readonly<Record<string, string>>;

/**
 * Distinct inputs of a grammar without faults, at most `limit`, drawn by weight without repetition: the same for the same
 * grammar and seed, and a larger draw begins with the smaller where the grammar has more than MAX_LISTED_DERIVATIONS.
 */
export function* drawInputs(grammar: Grammar, limit: number): Generator<GrammarInput> {
  const made = compiled(grammar);
  const random = randomOf(grammar.seed);
  if (derivations(grammar) <= BigInt(MAX_LISTED_DERIVATIONS)) {
    yield* drawnFromList(listed(made), limit, random);
    return;
  }
  const seen = new Set<string>();
  for (let fruitless = 0; seen.size < limit && fruitless < MAX_FRUITLESS_DRAWS; fruitless += 1) {
    const input = drawn(made, random);
    const key = JSON.stringify(input);
    if (seen.has(key)) continue;
    seen.add(key);
    fruitless = 0;
    yield input;
  }
}

/** How many distinct inputs a grammar has; where it has too many to list them, how many at most. */
export function distinctInputs(grammar: Grammar): { inputs: bigint; exact: boolean } {
  const ways = derivations(grammar);
  if (ways > BigInt(MAX_LISTED_DERIVATIONS)) return { inputs: ways, exact: false };
  return { inputs: BigInt(new Set(listed(compiled(grammar)).map(({ key }) => key)).size), exact: true };
}

interface Listed {
  readonly key: string;
  readonly input: GrammarInput;
  /** Chance of a draw to give it. */
  chance: number;
}

function listed({ templates, lexicons }: Compiled): Listed[] {
  const known = new Map<string, { text: string; chance: number }[]>();
  const fillings = (slots: Map<string, string>): { values: Record<string, string>; chance: number }[] => {
    let all: { values: Record<string, string>; chance: number }[] = [{ values: {}, chance: 1 }];
    for (const [slot, name] of slots) {
      const texts = textsOf(name);
      all = all.flatMap(({ values, chance }) =>
        texts.map((one) => ({ values: { ...values, [slot]: one.text }, chance: chance * one.chance })),
      );
    }
    return all;
  };
  const textsOf = (name: string): { text: string; chance: number }[] => {
    const before = known.get(name);
    if (before) return before;
    const entries = lexicons.get(name) ?? [];
    const total = entries.reduce((sum, { weight }) => sum + weight, 0);
    const texts = entries.flatMap(({ parts, slots, weight }) =>
      fillings(slots).map(({ values, chance }) => ({ text: filled(parts, values), chance: (chance * weight) / total })),
    );
    known.set(name, texts);
    return texts;
  };
  const total = templates.reduce((sum, { weight }) => sum + weight, 0);
  const byKey = new Map<string, Listed>();
  for (const { fields, slots, weight } of templates) {
    for (const { values, chance } of fillings(slots)) {
      const input = Object.fromEntries(fields.map(([field, parts]) => [field, filled(parts, values)]));
      const key = JSON.stringify(input);
      const same = byKey.get(key);
      if (same) same.chance += (chance * weight) / total;
      else byKey.set(key, { key, input, chance: (chance * weight) / total });
    }
  }
  return [...byKey.values()];
}

/**
 * A weighted draw without replacement: the largest of u^(1/weight), u uniform (Efraimidis & Spirakis 2006). It has the same
 * distribution as drawing again until something new comes.
 */
function* drawnFromList(all: readonly Listed[], limit: number, random: () => number): Generator<GrammarInput> {
  const keyed = all.map((one) => ({ input: one.input, key: Math.log(random()) / one.chance }));
  keyed.sort((a, b) => b.key - a.key);
  for (const { input } of keyed.slice(0, limit)) yield input;
}

function drawn({ templates, lexicons }: Compiled, random: () => number): GrammarInput {
  const valuesOf = (slots: Map<string, string>): Record<string, string> =>
    Object.fromEntries([...slots].map(([slot, name]) => [slot, textFrom(name)]));
  const textFrom = (name: string): string => {
    const { parts, slots } = pick(lexicons.get(name) ?? [], random);
    return filled(parts, valuesOf(slots));
  };
  const { fields, slots } = pick(templates, random);
  const values = valuesOf(slots);
  return Object.fromEntries(fields.map(([field, parts]) => [field, filled(parts, values)]));
}

const filled = (parts: readonly Part[], values: Readonly<Record<string, string>>): string =>
  parts.map((part) => (isSlot(part) ? (values[part.slot] ?? '') : part)).join('');

function pick<T extends { readonly weight: number }>(items: readonly T[], random: () => number): T {
  const total = items.reduce((sum, { weight }) => sum + weight, 0);
  let left = random() * total;
  for (const item of items) {
    left -= item.weight;
    if (left < 0) return item;
  }
  return items.at(-1) as T;
}

/** Uniform numbers of (0, 1) from a seed: a counter through a mixing function (SplitMix32, Steele et al. 2014). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e37_79b9) | 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (((mixed ^ (mixed >>> 15)) >>> 0) + 0.5) / 2 ** 32;
  };
}
