/** Near-duplicates to which one source has another answer than the others. No I/O. */

/** Pairs of one near-duplicate group that one source answers alike. */
export interface NearCopies {
  readonly groupId: string;
  readonly origin: string;
  /** Canonical JSON. */
  readonly answer: string;
  /** In the order of their ids. */
  readonly pairIds: readonly string[];
}

/** Of groups with all their answers: those that are not what most pairs of the other sources say. */
export function suspiciousCopies(copies: readonly NearCopies[]): NearCopies[] {
  return [...Map.groupBy(copies, ({ groupId }) => groupId).values()].flatMap((group) =>
    group.filter(({ origin, answer }) => {
      const elsewhere = answerOf(group.filter((other) => other.origin !== origin));
      return elsewhere !== undefined && elsewhere !== answer;
    }),
  );
}

/** What most pairs say; undefined without any. */
function answerOf(copies: readonly NearCopies[]): string | undefined {
  const pairs = new Map<string, number>();
  for (const { answer, pairIds } of copies) pairs.set(answer, (pairs.get(answer) ?? 0) + pairIds.length);
  return [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]?.[0];
}
