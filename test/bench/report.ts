/** What every benchmark prints: the machine, a table, and last one line of JSON. */
import { cpus, totalmem } from 'node:os';

/** A figure is null where what it would measure is not there. */
export type Figures = Record<string, number | null>;

export const machine = (): string =>
  `${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;

/** Middle of the values; the mean of the two middle ones for an even number. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/** Prints rows under a title, columns aligned; then the figures as the last line of the output. */
export const report = (bench: string, rows: readonly (readonly [string, string])[], figures: Figures): void => {
  const width = Math.max(...rows.map(([name]) => name.length));
  process.stdout.write(`\n${bench} on ${machine()}\n\n`);
  for (const [name, value] of rows) process.stdout.write(`  ${name.padEnd(width)}  ${value}\n`);
  process.stdout.write(`\n${JSON.stringify({ bench, figures })}\n`);
};
