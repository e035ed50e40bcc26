/** How figures read. */
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Verdict } from '@understudy/contract';

const whole = new Intl.NumberFormat('en-US');

/** `5,432`. */
export const count = (value: number): string => whole.format(value);

/** A share 0..1 as `93.4%`. */
export const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;

/** A lower bound 0..1, rounded down: what is printed is proven too. */
export const percentAtLeast = (share: number): string => `${(Math.floor(share * 1_000) / 10).toFixed(1)}%`;

/** Millionths of a US dollar as `$0.0123`. */
export const dollars = (microUsd: bigint): string => {
  const usd = Number(microUsd) / 1_000_000;
  return usd === 0 || usd >= 1 ? `$${usd.toFixed(2)}` : `$${usd.toFixed(4)}`;
};

/** `1.2 ms`, `340 µs`, `12 s`. */
export const milliseconds = (ms: number): string => {
  if (ms < 1) return `${Math.round(ms * 1_000)} µs`;
  if (ms < 1_000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
};

/** `2.1 MB`, in powers of ten. */
export const bytes = (value: number): string => {
  if (value < 1_000) return `${value} B`;
  if (value < 1_000_000) return `${(value / 1_000).toFixed(1)} kB`;
  if (value < 1_000_000_000) return `${(value / 1_000_000).toFixed(1)} MB`;
  return `${(value / 1_000_000_000).toFixed(1)} GB`;
};

/** Milliseconds from one moment to another; up to now where the second is not there yet. */
export const between = (from: Timestamp, to: Timestamp | undefined): number =>
  (to ? timestampMs(to) : Date.now()) - timestampMs(from);

/** `2026-03-04 05:06:07` in UTC. */
export const moment = (at: Timestamp | undefined): string =>
  at ? new Date(timestampMs(at)).toISOString().slice(0, 19).replace('T', ' ') : '–';

/** `promoted`, `cannot be distilled`. */
export const verdictWords = (verdict: Verdict): string =>
  verdict === Verdict.NOT_DISTILLABLE ? 'cannot be distilled' : Verdict[verdict].toLowerCase();

const maxLineCharacters = 160;

/** A text on one line, cut where it is long. */
export const oneLine = (text: string): string => {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length <= maxLineCharacters ? line : `${line.slice(0, maxLineCharacters - 1)}…`;
};
