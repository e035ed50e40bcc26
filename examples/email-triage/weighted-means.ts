export interface Weighted {
  readonly embedding: Float32Array;
  readonly weight: number;
}

/** By then a handful of points still changes its group. */
const ITERATIONS = 20;

/** The mean of one group. */
export class Mean {
  readonly #centre: Float64Array;
  readonly #halfSquare: number;

  constructor(centre: Float64Array) {
    this.#centre = centre;
    this.#halfSquare = centre.reduce((sum, value) => sum + value * value, 0) / 2;
  }

  /** Grows with closeness: x·c − ‖c‖²/2 orders the means around one point as their distances do, smallest first. */
  closeness(embedding: Float32Array): number {
    let product = 0;
    for (let k = 0; k < embedding.length; k++) product += (embedding[k] as number) * (this.#centre[k] as number);
    return product - this.#halfSquare;
  }

  /** Index of the nearest of some points of equal length. */
  nearestOf(points: readonly { readonly embedding: Float32Array }[]): number {
    return indexOfMost(points, ({ embedding }) => this.closeness(embedding));
  }
}

/** k-means (Lloyd 1982) of weighted points, begun from the first `groups` of them, so that their order is its seed. */
export function weightedMeans(points: readonly Weighted[], groups: number): Mean[] {
  let means = points.slice(0, groups).map(({ embedding }) => new Mean(Float64Array.from(embedding)));
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const members = means.map((): Weighted[] => []);
    for (const point of points) members[indexOfMost(means, (mean) => mean.closeness(point.embedding))]?.push(point);
    means = means.map((mean, group) => meanOf(members[group] ?? []) ?? mean);
  }
  return means;
}

function meanOf(members: readonly Weighted[]): Mean | undefined {
  const total = members.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return undefined;
  const sum = new Float64Array(members[0]?.embedding.length ?? 0);
  for (const { embedding, weight } of members) {
    for (let k = 0; k < sum.length; k++) sum[k] = (sum[k] as number) + (embedding[k] as number) * weight;
  }
  return new Mean(sum.map((value) => value / total));
}

function indexOfMost<T>(items: readonly T[], value: (item: T) => number): number {
  let best = { index: 0, value: Number.NEGATIVE_INFINITY };
  for (const [index, item] of items.entries()) {
    const own = value(item);
    if (own > best.value) best = { index, value: own };
  }
  return best.index;
}
