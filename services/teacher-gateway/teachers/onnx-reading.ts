/** How logits of a published model become probabilities of a task's labels. */
import { ModelRefused } from './model-thread.ts';

/** What the thread is started with. */
export interface ModelTask {
  readonly folder: string;
  /** The task's labels. */
  readonly labels: readonly string[];
  /** Of a classifier: its label → the task's, where they differ. */
  readonly mapped: Readonly<Record<string, string>>;
  /** Of a model for inference: one hypothesis for each of the task's labels. undefined: a classifier. */
  readonly hypotheses: readonly string[] | undefined;
}

export interface Reading {
  /** What a text is paired with, a row each; a classifier reads it alone. */
  readonly hypotheses: readonly (string | undefined)[];
  /** Probabilities of the task's labels from the rows' logits. */
  probabilities(rows: readonly (readonly number[])[]): number[];
}

/** @param labels the model's own. @throws ModelRefused when they do not fit the task's */
export const readingOf = (task: ModelTask, labels: readonly string[]): Reading =>
  task.hypotheses ? inference(task.hypotheses, labels) : classifier(task, labels);

const classifier = (task: ModelTask, labels: readonly string[]): Reading => {
  const indices = labels.map((label) => {
    const meant = task.mapped[label] ?? label;
    const index = task.labels.indexOf(meant);
    if (index >= 0) return index;
    throw new ModelRefused(
      `expected the model's labels to be the task's (${task.labels.join(', ')}), got ${meant}; say under teacher.labels which label ${label} is`,
    );
  });
  const without = task.labels.filter((_, index) => !indices.includes(index));
  const strange = Object.keys(task.mapped).find((label) => !labels.includes(label));
  if (without.length > 0)
    throw new ModelRefused(`no label of the model stands for ${without.join(', ')}: it has ${labels.join(', ')}`);
  if (strange !== undefined)
    throw new ModelRefused(`teacher.labels names ${strange}; the model has ${labels.join(', ')}`);
  return {
    hypotheses: [undefined],
    probabilities: ([logits = []]) => {
      const sums = task.labels.map(() => 0);
      for (const [id, probability] of softmax(logits).entries()) sums[indices[id]!]! += probability;
      return sums;
    },
  };
};

/**
 * Zero-shot classification by entailment (Yin, Hay and Roth, 2019): the label whose hypothesis follows most strongly from the
 * text, by a softmax over the labels' entailment logits.
 */
const inference = (hypotheses: readonly string[], labels: readonly string[]): Reading => {
  const entailment = labels.findIndex((label) => /^entail/i.test(label));
  if (entailment < 0) {
    throw new ModelRefused(
      `expected a model for inference, with a label "entailment", got ${labels.join(', ')}; leave out teacher.hypothesis for a classifier`,
    );
  }
  return { hypotheses, probabilities: (rows) => softmax(rows.map((logits) => logits[entailment]!)) };
};

const softmax = (logits: readonly number[]): number[] => {
  const highest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - highest));
  const sum = weights.reduce((total, each) => total + each, 0);
  return weights.map((each) => each / sum);
};
