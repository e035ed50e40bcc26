import type { Head, HeadValue } from '@understudy/task/output/head';
import { fitTemperature, negativeLogLikelihood } from '../statistics/calibration.ts';
import { isAsked, type Layout, layoutOf, type Place, TAGS } from './layout.ts';
import type { Prediction } from './read.ts';
import { tagsOf } from './spans.ts';

/** A prediction, and what the teacher said in the order of the heads. */
type Given = { readonly prediction: Prediction; readonly values: readonly HeadValue[] };

/** Decisions between several classes: the logits of each, and the index of what the teacher said. */
type Decisions = { readonly logits: ArrayLike<number>[]; readonly given: number[] };

/** What a head's logits decide about one text, each decision with its own classes. */
function addDecisions(head: Head, { logits, tokens }: Prediction, value: HeadValue, into: Decisions): void {
  const own = logits[head.name] as Float32Array;
  const add = (classes: ArrayLike<number>, given: number): void => {
    into.logits.push(classes);
    into.given.push(given);
  };
  if (head.kind === 'choice' && value.kind === 'choice') add(own, value.index);
  else if (head.kind === 'tags' && value.kind === 'tags') {
    for (const [label, logit] of own.entries()) add([0, logit], Number(value.indices.includes(label)));
  } else if (head.kind === 'number' && value.kind === 'number') {
    const { bins } = head;
    const given = value.value;
    const nearest = bins.map((bin) => (given === undefined ? 0 : -Math.abs(bin - given)));
    add(own, given === undefined ? bins.length : nearest.indexOf(Math.max(...nearest)));
  } else if (head.kind === 'span' && value.kind === 'span' && tokens) {
    for (const [token, tag] of tagsOf(value.spans, tokens).entries()) {
      if (tokens.starts[token] !== tokens.ends[token]) add(own.subarray(TAGS * token, TAGS * (token + 1)), tag);
    }
  } else throw new TypeError(`head "${head.name}" of kind ${head.kind} cannot be held against a ${value.kind}`);
}

/** All decisions of a head. What lies in an absent object is not asked. */
function decisionsOf(layout: Layout, at: number, given: readonly Given[]): Decisions {
  const place = layout.places[at] as Place;
  const decisions: Decisions = { logits: [], given: [] };
  for (const { prediction, values } of given) {
    if (isAsked(place, layout, values)) addDecisions(place.head, prediction, values[at] as HeadValue, decisions);
  }
  return decisions;
}

/**
 * The temperature of each head with the least negative log likelihood of the teacher's answers; of a set, of its labels
 * one by one, and of a span, of the tags of its tokens.
 */
export function fitTemperatures(
  heads: readonly Head[],
  given: readonly Given[],
): { name: string; temperature: number }[] {
  const layout = layoutOf(heads);
  return layout.places.map(({ head }, at) => {
    const decisions = decisionsOf(layout, at, given);
    return { name: head.name, temperature: fitTemperature(decisions.logits, decisions.given) };
  });
}

/** Mean negative log likelihood of the teacher's whole answers, in nats; uncalibrated without temperatures. */
export function likelihoodOf(
  heads: readonly Head[],
  given: readonly Given[],
  temperatures: readonly { readonly temperature: number }[] = [],
): number {
  const layout = layoutOf(heads);
  const sums = heads.map((_, at) => {
    const { logits, given: said } = decisionsOf(layout, at, given);
    if (said.length === 0) return 0;
    return said.length * negativeLogLikelihood(logits, said, temperatures[at]?.temperature ?? 1);
  });
  return sums.reduce((total, sum) => total + sum, 0) / Math.max(1, given.length);
}
