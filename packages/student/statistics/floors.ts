/** Whether parts of the answers (a class, a source, a length) agree less than they must. */
import { chanceOfSoFew } from './clopper-pearson.ts';
import { holm } from './holm.ts';

/** Answers of one part: those that the student gives itself, and how many of them agree. */
export interface Part {
  readonly pairs: number;
  readonly agreeing: number;
}

/** `above` and `below` are proven at the level over all parts together; everything else is open, never fine. */
export type Standing = 'above' | 'below' | 'undetermined';

export interface PartVerdict {
  readonly standing: Standing;
  /** Holm-adjusted: how likely so little agreement would be at the floor, the number of parts accounted for. */
  readonly belowP: number;
  /** The same the other way round. */
  readonly aboveP: number;
}

/**
 * Exact binomial tests of each part against the floor, both directions corrected by Holm, each over all parts.
 * @param floor 0..1, the agreement that no part may fall short of
 * @param level chance that any part at or above the floor is called `below`, and that any part below it is called `above`
 */
export function standingsOf(parts: readonly Part[], floor: number, level: number): PartVerdict[] {
  const below = holm(parts.map(({ pairs, agreeing }) => chanceOfSoFew(agreeing, pairs, floor)));
  const above = holm(parts.map(({ pairs, agreeing }) => chanceOfSoFew(pairs - agreeing, pairs, 1 - floor)));
  return parts.map((_, i) => {
    const [belowP, aboveP] = [below[i]!, above[i]!];
    const standing = belowP <= level ? 'below' : aboveP <= level ? 'above' : 'undetermined';
    return { standing, belowP, aboveP };
  });
}
