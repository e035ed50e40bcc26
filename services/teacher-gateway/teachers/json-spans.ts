/** Where a value stands in a JSON text: from its first character to after its last. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const literal = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null/y;
const space = /\s*/y;

/**
 * The scalar values of an object and of the objects in it, by their path joined by dots. Arrays are skipped.
 * @param text valid JSON, an object
 */
export const scalarSpans = (text: string): Map<string, Span> => {
  const spans = new Map<string, Span>();
  let at = 0;
  const skipSpace = () => {
    space.lastIndex = at;
    at += space.exec(text)![0].length;
  };
  const scalar = (): Span => {
    literal.lastIndex = at;
    const [found = ''] = literal.exec(text) ?? [];
    if (found === '') throw new SyntaxError(`expected a value at ${at} of ${text}`);
    const start = at;
    at += found.length;
    return { start, end: at };
  };
  const members = (close: string, member: () => void) => {
    at += 1;
    for (skipSpace(); text[at] !== close; skipSpace()) {
      member();
      skipSpace();
      if (text[at] === ',') at += 1;
      else if (text[at] !== close) throw new SyntaxError(`expected , or ${close} at ${at} of ${text}`);
    }
    at += 1;
  };
  const value = (path: string | undefined) => {
    skipSpace();
    if (text[at] === '{') {
      members('}', () => {
        const { start, end } = scalar();
        const name = JSON.parse(text.slice(start, end)) as string;
        skipSpace();
        at += 1;
        value(path === undefined ? undefined : path === '' ? name : `${path}.${name}`);
      });
    } else if (text[at] === '[') members(']', () => value(undefined));
    else {
      const span = scalar();
      if (path !== undefined) spans.set(path, span);
    }
  };
  value('');
  return spans;
};
