/**
 * Level of a task's k-th look at test pairs: alpha · 6 / (pi² k²). Over all looks there will ever be these sum to alpha
 * (the squares of 1/k sum to pi²/6), so the chance to promote a student below its goal stays at alpha for good.
 * @param alpha 0..1, the chance allowed over all looks: one minus the goal's confidence
 * @param look k, from 1
 * @throws RangeError when the look is no whole number from 1
 */
export function levelOfLook(alpha: number, look: number): number {
  if (!Number.isInteger(look) || look < 1) throw new RangeError(`expected a look counted from 1, got ${look}`);
  return (alpha * 6) / (Math.PI ** 2 * look ** 2);
}
