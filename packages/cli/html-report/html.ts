/** HTML and SVG as text, in which nothing from a task, a label or a teacher is ever markup. */

/** Markup that may stand as it is. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
}

type Part = Html | string | number | undefined | readonly (Html | string)[];

/** Markup from a template: what is put in is escaped, for content and quoted attributes alike, unless it is markup itself. */
export const html = (strings: TemplateStringsArray, ...parts: Part[]): Html =>
  new Html(strings.reduce((text, string, index) => `${text}${textOf(parts[index - 1])}${string}`));

const textOf = (part: Part): string => {
  if (part === undefined) return '';
  if (part instanceof Html) return part.text;
  if (Array.isArray(part)) return part.map(textOf).join('');
  return escapeHtml(String(part));
};

const named: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** What would end an attribute or begin a tag, and characters that XML does not know or that turn the direction of reading. */
const escapeHtml = (text: string): string =>
  text
    .replaceAll(/[&<>"']/g, (character) => named[character]!)
    .replaceAll(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (character) => (/\s/.test(character) ? ' ' : '\ufffd'));

/** A table with a caption; the first column names its rows, columns `figures` up to, and not with, `words` hold numbers. */
export const table = (
  caption: string,
  titles: readonly string[],
  rows: readonly (readonly (string | Html)[])[],
  { figures = 1, words = titles.length } = {},
): Html => {
  const kind = (column: number) => (column >= figures && column < words ? 'figure' : 'words');
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table>
<caption>${caption}</caption>
<thead><tr>${titles.map((title, column) => html`<th scope="col" class="${kind(column)}">${title}</th>`)}</tr></thead>
<tbody>${rows.map((row) => {
    const [name = '', ...cells] = row;
    const rest = cells.map((cell, column) => html`<td class="${kind(column + 1)}">${cell}</td>`);
    return html`<tr><th scope="row">${name}</th>${rest}</tr>\n`;
  })}</tbody></table></div>`;
};

/** Names with what is known of them. */
export const facts = (rows: readonly (readonly [name: string, value: string | Html])[]): Html =>
  html`<dl>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>\n`)}</dl>`;
