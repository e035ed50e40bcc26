/**
 * A multinomial logistic regression on fixed embeddings, fitted to a task's few examples: convex, so its result depends on
 * the examples alone, and deterministic to the bit, for it is plain float64 arithmetic in a fixed order.
 */

import { choleskyFactor, choleskySolve } from './embedded-cholesky.ts';

export interface LabelledEmbedding {
  readonly embedding: Float32Array;
  /** Index into the task's labels. */
  readonly label: number;
}

export interface Head {
  /** The strength of the L2 penalty that cross-validation chose. */
  readonly lambda: number;
  /** Probability of each label, in order, summing to 1. */
  probabilities(embedding: Float32Array): Float64Array;
}

/** Names what is computed here: raise it whenever the same examples would give other probabilities. */
export const HEAD_VERSION = 'head-1';

/** From a head that hardly dares to one that separates a few hundred unit vectors without loss. */
const LAMBDAS = [1e-1, 2e-2, 4e-3, 8e-4, 1.6e-4, 3.2e-5, 6.4e-6] as const;
/** With too few examples to hold any out. */
const UNVALIDATED_LAMBDA = 8e-4;
/** The usual choice (Kohavi 1995); more folds cost more and say little more. */
const MAX_FOLDS = 5;
/** A held-out loss so much above the least is on its way up: the loss is nearly convex in log λ. */
const RISEN = 1.2;
/** A fit is done when a step moves no logit by more. */
const LOGIT_TOLERANCE = 1e-5;
/** The slowest fit seen takes a twentieth; a bound for degenerate examples. */
const MAX_STEPS = 5_000;

/** Members of a fit: their Gram matrix, row by row, and their labels. */
interface FitProblem {
  readonly gram: Float64Array;
  readonly labels: readonly number[];
  readonly labelCount: number;
}

/**
 * Fits a head to examples of `labelCount` labels; each label should have at least one. The penalty is the one with the
 * least held-out log loss in a cross-validation over the examples, dealt to folds in their order. A step costs
 * O(examples² × labels), and some thousand steps are taken: about 0.5 s for 128 examples of two labels.
 */
export function fitHead(examples: readonly LabelledEmbedding[], labelCount: number): Head {
  const gram = gramMatrix(examples);
  const labels = examples.map(({ label }) => label);
  const problem: FitProblem = { gram, labels, labelCount };
  const lambda = chooseLambda(problem);
  return { lambda, probabilities: classifier(examples, fit(problem, lambda), labelCount) };
}

/** Inner products of the embeddings, plus 1: a constant feature is the intercept, penalised like any other. */
function gramMatrix(examples: readonly LabelledEmbedding[]): Float64Array {
  return Float64Array.from(examples.flatMap((a) => examples.map((b) => 1 + dot(a.embedding, b.embedding))));
}

function chooseLambda(problem: FitProblem): number {
  const { labels, labelCount } = problem;
  const seen = new Array<number>(labelCount).fill(0);
  // The k-th example of a label goes to fold k: every fold has its share of every label.
  const turns = labels.map((label) => {
    const turn = seen[label] ?? 0;
    seen[label] = turn + 1;
    return turn;
  });
  const foldCount = Math.min(MAX_FOLDS, ...seen);
  if (foldCount < 2) return UNVALIDATED_LAMBDA;
  const folds = Array.from(
    { length: foldCount },
    (_, fold) => new Fold(problem, (i) => Number(turns[i]) % foldCount === fold),
  );
  let best = { lambda: UNVALIDATED_LAMBDA, loss: Number.POSITIVE_INFINITY };
  for (const lambda of LAMBDAS) {
    const loss = folds.reduce((sum, fold) => sum + fold.heldOutLoss(lambda), 0);
    if (loss < best.loss) best = { lambda, loss };
    else if (loss > RISEN * best.loss) break;
  }
  return best.lambda;
}

/** One fold of the cross-validation; each penalty's fit starts where the one before ended. */
class Fold {
  readonly #problem: FitProblem;
  readonly #inside: readonly number[];
  readonly #outside: readonly number[];
  readonly #fitProblem: FitProblem;
  #coefficients: Float64Array | undefined;

  constructor(problem: FitProblem, holdsOut: (index: number) => boolean) {
    const indices = problem.labels.map((_, index) => index);
    this.#problem = problem;
    this.#inside = indices.filter((index) => !holdsOut(index));
    this.#outside = indices.filter(holdsOut);
    this.#fitProblem = {
      gram: this.#similarities(this.#inside),
      labels: this.#inside.map((index) => problem.labels[index] as number),
      labelCount: problem.labelCount,
    };
  }

  /** Sum over the held-out examples of −log of their label's probability. */
  heldOutLoss(lambda: number): number {
    const { labels, labelCount } = this.#problem;
    this.#coefficients = fit(this.#fitProblem, lambda, this.#coefficients);
    const logits = product(this.#similarities(this.#outside), this.#coefficients, this.#outside.length, labelCount);
    softmaxRows(logits, labelCount);
    return this.#outside.reduce((loss, index, row) => {
      const probability = logits[row * labelCount + (labels[index] as number)] as number;
      return loss - Math.log(Math.max(probability, Number.MIN_VALUE));
    }, 0);
  }

  /** Gram matrix entries of the given examples (rows) and those inside the fold (columns). */
  #similarities(rows: readonly number[]): Float64Array {
    const { gram, labels } = this.#problem;
    return Float64Array.from(
      rows.flatMap((row) => this.#inside.map((column) => gram[row * labels.length + column] as number)),
    );
  }
}

/**
 * Minimises mean cross-entropy + λ/2 ‖W‖² over W = Σᵢ embeddingᵢ Aᵢ and returns A, n × labels. With G = (P − Y)/n + λA,
 * the gradient is Xᵀ G. A step majorises the Hessian by XᵀX/2n + λI (Böhning 1992) and so goes to A − (K/2n + λI)⁻¹ G,
 * K = XXᵀ; Nesterov's momentum with restarts (O'Donoghue & Candès 2015) makes some hundred steps enough.
 */
function fit({ gram, labels, labelCount }: FitProblem, lambda: number, start?: Float64Array): Float64Array {
  const n = labels.length;
  const factor = choleskyFactor(
    gram.map((value, at) => value / (2 * n) + (at % (n + 1) === 0 ? lambda : 0)),
    n,
  );
  let current = start?.slice() ?? new Float64Array(n * labelCount);
  let ahead = current.slice();
  let momentum = 1;
  for (let step = 0; step < MAX_STEPS; step++) {
    const gradient = product(gram, ahead, n, labelCount);
    softmaxRows(gradient, labelCount);
    for (let i = 0; i < n; i++) {
      const own = i * labelCount + (labels[i] as number);
      gradient[own] = (gradient[own] as number) - 1;
    }
    for (let at = 0; at < gradient.length; at++) {
      gradient[at] = (gradient[at] as number) / n + lambda * (ahead[at] as number);
    }
    choleskySolve(factor, gradient, n, labelCount);

    const previous = current;
    current = ahead.map((value, at) => value - (gradient[at] as number));
    // A logit is a sum over n coefficients, each times a similarity of at most 2.
    if (2 * n * gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0) < LOGIT_TOLERANCE) break;
    const uphill =
      gradient.reduce((sum, value, at) => sum + value * ((current[at] as number) - (previous[at] as number)), 0) > 0;
    const following = uphill ? 1 : (1 + Math.sqrt(1 + 4 * momentum ** 2)) / 2;
    const weight = uphill ? 0 : (momentum - 1) / following;
    momentum = following;
    ahead = current.map((value, at) => value + weight * (value - (previous[at] as number)));
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
  return (embedding) => {
    const logits = intercepts.map((intercept, label) => intercept + dot(weights[label] as Float64Array, embedding));
    softmaxRows(logits, labelCount);
    return logits;
  };
}

/** Matrix (rows × n) times coefficients (n × labels). */
function product(matrix: Float64Array, coefficients: Float64Array, rows: number, labelCount: number): Float64Array {
  const n = coefficients.length / labelCount;
  const result = new Float64Array(rows * labelCount);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < n; j++) {
      const value = matrix[i * n + j] as number;
      for (let label = 0; label < labelCount; label++) {
        const at = i * labelCount + label;
        result[at] = (result[at] as number) + value * (coefficients[j * labelCount + label] as number);
      }
    }
  }
  return result;
}

/** Turns rows of logits into rows of probabilities, in place. */
function softmaxRows(logits: Float64Array, labelCount: number): void {
  for (let from = 0; from < logits.length; from += labelCount) {
    let top = Number.NEGATIVE_INFINITY;
    for (let at = from; at < from + labelCount; at++) top = Math.max(top, logits[at] as number);
    let sum = 0;
    for (let at = from; at < from + labelCount; at++) {
      const power = Math.exp((logits[at] as number) - top);
      logits[at] = power;
      sum += power;
    }
    for (let at = from; at < from + labelCount; at++) logits[at] = (logits[at] as number) / sum;
  }
}

function dot(a: Float32Array | Float64Array, b: Float32Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] as number) * (b[k] as number);
  return sum;
}
