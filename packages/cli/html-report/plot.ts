/** Plots as SVG, drawn once: axes, lines, points. Coordinates are those of a narrow phone; wider screens scale them. */
import { type Html, html } from './html.ts';

const width = 340;
const height = 250;
const margin = { left: 50, right: 20, top: 12, bottom: 42 };

export interface Axis {
  label: string;
  low: number;
  high: number;
  /** Decades are equally far apart. */
  logarithmic?: boolean;
  ticks: readonly number[];
  format: (value: number) => string;
}

/** Where a value stands, in the plot's coordinates. */
export interface Place {
  x: (value: number) => number;
  y: (value: number) => number;
}

export interface Plot {
  id: string;
  title: string;
  /** What is to be seen, in words, for those who do not see it. */
  description: string;
  x: Axis;
  y: Axis;
  marks: (place: Place) => readonly Html[];
  legend: readonly Html[];
}

const digits = (value: number): number => Math.round(value * 100) / 100;

const scaleOf = ({ low, high, logarithmic }: Axis, from: number, to: number) => {
  const of = (value: number) => (logarithmic ? Math.log(value) : value);
  const span = of(high) - of(low) || 1;
  return (value: number) => digits(from + ((of(value) - of(low)) / span) * (to - from));
};

export const drawPlot = ({ id, title, description, x, y, marks, legend }: Plot): Html => {
  const [right, bottom] = [width - margin.right, height - margin.bottom];
  const place = { x: scaleOf(x, margin.left, right), y: scaleOf(y, bottom, margin.top) };
  const across = y.ticks.map(
    (tick) => html`<path class="grid" d="M${margin.left} ${place.y(tick)}H${right}"/>
<text class="tick" x="${margin.left - 5}" y="${place.y(tick) + 4}" text-anchor="end">${y.format(tick)}</text>`,
  );
  const along = x.ticks.map(
    (tick) => html`<path class="grid" d="M${place.x(tick)} ${margin.top}V${bottom}"/>
<text class="tick" x="${place.x(tick)}" y="${bottom + 15}" text-anchor="middle">${x.format(tick)}</text>`,
  );
  return html`<figure>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${title}</title><desc id="${id}-desc">${description}</desc>
${across}${along}
<text class="axis" x="${(margin.left + right) / 2}" y="${height - 6}" text-anchor="middle">${x.label}</text>
<text class="axis" transform="translate(11 ${(margin.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${y.label}</text>
${[...marks(place)]}
</svg>
<figcaption>${[...legend]}</figcaption></figure>`;
};

/** A line through points, in their order. */
export const line = (
  place: Place,
  points: readonly (readonly [x: number, y: number])[],
  kind: string,
  closed = false,
): Html => {
  const path = points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${place.x(x)} ${place.y(y)}`).join('');
  return html`<path class="${kind}" d="${path}${closed ? 'Z' : ''}"/>`;
};

export const dot = (place: Place, x: number, y: number, kind: string, radius = 4): Html =>
  html`<circle class="${kind}" cx="${place.x(x)}" cy="${place.y(y)}" r="${digits(radius)}"/>`;

/** Of the labels' font, about: enough to keep them apart. */
const characterWidth = 6;
const lineHeight = 12;

/** Words beside points, each where no earlier words and no point are; on the side that has room. */
export const words = (place: Place, labels: readonly { x: number; y: number; text: string }[]): Html[] => {
  const taken = labels.map(({ x, y }) => ({
    from: place.x(x) - 6,
    to: place.x(x) + 6,
    top: place.y(y) - 6,
    end: place.y(y) + 6,
  }));
  return labels.map(({ x, y, text }) => {
    const [at, middle] = [place.x(x), place.y(y)];
    const left = at > width / 2;
    const start = left ? at - 8 - text.length * characterWidth : at + 8;
    const boxAt = (shift: number) => ({
      ...{ from: start, to: start + text.length * characterWidth },
      ...{ top: middle + shift - lineHeight, end: middle + shift },
    });
    const box = [4, -8, 16, -20, 28, -32]
      .map(boxAt)
      .find(
        ({ from, to, top, end }) =>
          top > 0 && !taken.some((other) => from < other.to && to > other.from && top < other.end && end > other.top),
      );
    const { end } = box ?? boxAt(4);
    taken.push(box ?? boxAt(4));
    return html`<text class="label" x="${left ? at - 8 : at + 8}" y="${digits(end)}" text-anchor="${left ? 'end' : 'start'}">${text}</text>`;
  });
};

/** What a kind of mark means. */
export const key = (kind: string, text: string): Html => {
  const mark = kind.startsWith('dot')
    ? html`<circle class="${kind}" cx="12" cy="6" r="4"/>`
    : kind === 'band'
      ? html`<path class="${kind}" d="M2 1H22V11H2Z"/>`
      : html`<path class="${kind}" d="M1 6H23"/>`;
  return html`<span class="key"><svg viewBox="0 0 24 12" width="24" height="12" aria-hidden="true">${mark}</svg> ${text}</span> `;
};

/** Round values within a range, about as many as asked for. */
export const ticksOf = (low: number, high: number, about = 5): number[] => {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999)!;
  const ticks: number[] = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) {
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return ticks;
};

/** 1, 2 and 5 of each decade within a range; only powers of ten where those would be many. */
export const decadesOf = (low: number, high: number): number[] => {
  const wide = Math.log10(high / low) > 2.2;
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of wide ? [1] : [1, 2, 5]) ticks.push(factor * 10 ** power);
  }
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
};

/** An axis of shares from a little below the least one up to 1. */
export const shareAxis = (label: string, shares: readonly number[]): Axis => {
  const least = Math.min(...shares, 0.95);
  const low = Math.max(0, least - (1 - least) * 0.15);
  const ticks = ticksOf(low, 1);
  const fine = (ticks[1] ?? 1) - (ticks[0] ?? 0) < 0.0099;
  return { label, low, high: 1, ticks, format: (value) => `${(value * 100).toFixed(fine ? 1 : 0)}%` };
};
