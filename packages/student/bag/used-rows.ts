import type { RowCache } from './rows.ts';

/**
 * The rows of the table that train texts use, ascending. Only these are trained: the others have no gradient, and stay
 * zero, so that an n-gram that no train text had says nothing.
 */
export function usedRows({ rows }: RowCache, tableRows: number): Uint32Array {
  const used = new Uint8Array(tableRows);
  for (let i = 0; i < rows.length; i++) used[rows[i] as number] = 1;
  return Uint32Array.from([...used.keys()].filter((row) => used[row]));
}

/** The cache with its rows renumbered by their place in `used`; all others become `used.length`, the row of zeros. */
export function renumbered(cache: RowCache, used: Uint32Array, tableRows: number): RowCache {
  const places = new Uint32Array(tableRows).fill(used.length);
  for (const [place, row] of used.entries()) places[row] = place;
  return { ...cache, rows: cache.rows.map((row) => places[row] as number) };
}

/** The whole table [tableRows, width] from its trained part [used + 1, width]. */
export function wholeTable(trained: Float32Array, used: Uint32Array, tableRows: number, width: number): Float32Array {
  const table = new Float32Array(tableRows * width);
  for (const [place, row] of used.entries())
    table.set(trained.subarray(place * width, (place + 1) * width), row * width);
  return table;
}
