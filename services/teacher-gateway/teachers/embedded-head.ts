/**
 * A multinomial logistic regression on fixed embeddings, fitted to a task's few examples: convex, so its result depends on
 * the examples alone, and deterministic to the bit, for it is plain float64 arithmetic in a fixed order.
 */

export interface LabelledEmbedding {
  readonly embedding: Float32Array;
  /** Index into the task's labels. */
  readonly label: number;
}

export interface Head {
  /** The regularisation that cross-validation chose. */
  readonly lambda: number;
  /** Probability of each label, in order, summing to 1. */
  probabilities(embedding: Float32Array): Float64Array;
}

/** Names what is computed here: raise it whenever the same examples would give other probabilities. */
export const HEAD_VERSION = 'head-1';

/** From a head that hardly dares to one that separates a few hundred unit vectors without loss. */
const LAMBDAS = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5] as const;
/** With too few examples to hold any out. */
const UNVALIDATED_LAMBDA = 1e-3;
/** The usual choice (Kohavi 1995); more folds cost more and say little more. */
const MAX_FOLDS = 5;
/** Largest change of a logit per step at which a fit is done; probabilities are then exact to about as much. */
const TOLERANCE = 1e-5;
/** The slowest fit seen takes a tenth; a bound for degenerate examples. */
const MAX_STEPS = 20_000;

/**
 * Fits a head to examples of `labelCount` labels; each label should have at least one. The strength of the L2 penalty is
 * the one with the least held-out log loss in a cross-validation over the examples, dealt to folds in their order.
 * Work is O(examples² × labels) a step: 64 examples take about 0.1 s, 500 of 10 labels some seconds.
 */
export function fitHead(examples: readonly LabelledEmbedding[], labelCount: number): Head {
  const gram = gramMatrix(examples);
  const labels = examples.map(({ label }) => label);
  const lambda = chooseLambda(gram, labels, labelCount);
  const everything = examples.map((_, index) => index);
  const coefficients = fit(gram, labels, everything, labelCount, lambda);
  return { lambda, probabilities: classifier(examples, coefficients, labelCount) };
}

/** Inner products of the embeddings, plus 1: a constant feature is the intercept, penalised like any other. */
function gramMatrix(examples: readonly LabelledEmbedding[]): Float64Array[] {
  return examples.map((a) => Float64Array.from(examples, (b) => 1 + dot(a.embedding, b.embedding)));
}

function chooseLambda(gram: Float64Array[], labels: readonly number[], labelCount: number): number {
  const seen = new Array<number>(labelCount).fill(0);
  // The k-th example of a label goes to fold k: every fold has its share of every label.
  const turns = labels.map((label) => {
    const turn = seen[label] ?? 0;
    seen[label] = turn + 1;
    return turn;
  });
  const folds = Math.min(MAX_FOLDS, ...seen);
  if (folds < 2) return UNVALIDATED_LAMBDA;
  let best = { lambda: UNVALIDATED_LAMBDA, loss: Number.POSITIVE_INFINITY };
  const starts: (Float64Array | undefined)[] = [];
  for (const lambda of LAMBDAS) {
    let loss = 0;
    for (let fold = 0; fold < folds; fold++) {
      const inside = indicesWhere(turns, (turn) => turn % folds !== fold);
      const outside = indicesWhere(turns, (turn) => turn % folds === fold);
      const coefficients = fit(gram, labels, inside, labelCount, lambda, starts[fold]);
      starts[fold] = coefficients;
      for (const index of outside) {
        const row = gram[index] as Float64Array;
        const p = softmax(logitsOf(row, inside, coefficients, labelCount));
        loss -= Math.log(Math.max(p[labels[index] as number] as number, Number.MIN_VALUE));
      }
    }
    if (loss < best.loss) best = { lambda, loss };
    // The loss is nearly convex in log λ: once it has clearly risen, weaker penalties only overfit, slowly.
    else if (loss > 1.2 * best.loss) break;
  }
  return best.lambda;
}

/**
 * Minimises mean cross-entropy + λ/2 ‖W‖² over W = Σ coefficientᵢ embeddingᵢ by Nesterov's accelerated gradient with
 * restarts (O'Donoghue & Candès 2015). In the coefficients the gradient with respect to W is (P − Y)/n + λA, so a step
 * needs the Gram matrix alone. Returns n × labels coefficients, row by row, rows as in `members`.
 */
function fit(
  gram: Float64Array[],
  labels: readonly number[],
  members: readonly number[],
  labelCount: number,
  lambda: number,
  start?: Float64Array,
): Float64Array {
  const n = members.length;
  const rows = members.map((index) => gram[index] as Float64Array);
  // Cross-entropy's curvature is at most 1/2 (Böhning 1992), and the Gram matrix's largest eigenvalue at most its largest row sum.
  const rowSums = rows.map((row) => members.reduce((sum, index) => sum + Math.abs(row[index] as number), 0));
  const rate = 1 / (Math.max(...rowSums) / (2 * n) + lambda);
  let current = start?.slice() ?? new Float64Array(n * labelCount);
  let ahead = current.slice();
  let momentum = 1;
  for (let step = 0; step < MAX_STEPS; step++) {
    const next = ahead.slice();
    let change = 0;
    let alignment = 0;
    rows.forEach((row, i) => {
      const p = softmax(logitsOf(row, members, ahead, labelCount));
      for (let label = 0; label < labelCount; label++) {
        const at = i * labelCount + label;
        const target = labels[members[i] as number] === label ? 1 : 0;
        const gradient = ((p[label] as number) - target) / n + lambda * (ahead[at] as number);
        next[at] = (ahead[at] as number) - rate * gradient;
        change = Math.max(change, Math.abs(gradient));
        alignment += gradient * ((next[at] as number) - (current[at] as number));
      }
    });
    const previous = current;
    current = next;
    if (change < TOLERANCE * lambda) break;
    const following = alignment > 0 ? 1 : (1 + Math.sqrt(1 + 4 * momentum ** 2)) / 2;
    const weight = alignment > 0 ? 0 : (momentum - 1) / following;
    momentum = following;
    ahead = next.map((value, at) => value + weight * (value - (previous[at] as number)));
  }
  return current;
}

function classifier(
  examples: readonly LabelledEmbedding[],
  coefficients: Float64Array,
  labelCount: number,
): Head['probabilities'] {
  const size = examples[0]?.embedding.length ?? 0;
  const weights = Array.from({ length: labelCount }, () => new Float64Array(size));
  const intercepts = new Float64Array(labelCount);
  examples.forEach(({ embedding }, i) => {
    weights.forEach((row, label) => {
      const coefficient = coefficients[i * labelCount + label] as number;
      intercepts[label] = (intercepts[label] as number) + coefficient;
      for (let k = 0; k < size; k++) row[k] = (row[k] as number) + coefficient * (embedding[k] as number);
    });
  });
  return (embedding) =>
    softmax(intercepts.map((intercept, label) => intercept + dot(weights[label] as Float64Array, embedding)));
}

function logitsOf(
  row: Float64Array,
  members: readonly number[],
  coefficients: Float64Array,
  labelCount: number,
): Float64Array {
  const logits = new Float64Array(labelCount);
  for (let j = 0; j < members.length; j++) {
    const similarity = row[members[j] as number] as number;
    for (let label = 0; label < labelCount; label++) {
      logits[label] = (logits[label] as number) + similarity * (coefficients[j * labelCount + label] as number);
    }
  }
  return logits;
}

function softmax(logits: Float64Array): Float64Array {
  const top = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

function dot(a: Float32Array | Float64Array, b: Float32Array | Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] as number) * (b[k] as number);
  return sum;
}

function indicesWhere(values: readonly number[], holds: (value: number) => boolean): number[] {
  return values.flatMap((value, index) => (holds(value) ? [index] : []));
}
