import { sha256Hex } from '../canonical.ts';

const WORDS =
  'amber birch cedar dune ember fjord grove heath inlet jetty knoll ledge marsh notch oasis plain quarry ridge shoal tarn'.split(
    ' ',
  );

/** Text number `n`: unlike the others, and the same whenever it is asked for. */
export function testText(n: number): string {
  const digest = sha256Hex(`text ${n}`);
  return Array.from(
    { length: 16 },
    (_, i) =>
      `${WORDS[Number.parseInt(digest.slice(i * 2, i * 2 + 2), 16) % WORDS.length]}${digest.slice(i * 4, i * 4 + 3)}`,
  ).join(' ');
}
