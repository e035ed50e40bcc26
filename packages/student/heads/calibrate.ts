import type { Head, HeadValue } from '@understudy/task/output/head';
import { fitTemperature } from '../statistics/calibration.ts';
import { isAsked, layoutOf, type Place, TAGS } from './layout.ts';
import type { Prediction } from './read.ts';
import { tagsOf } from './spans.ts';

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

/**
 * The temperature of each head with the least negative log likelihood of the teacher's answers; of a set, of its labels
 * one by one, and of a span, of the tags of its tokens. What lies in an absent object is not asked.
 * @param values the teacher's for each prediction, in the order of the heads
 */
export function fitTemperatures(
  heads: readonly Head[],
  predictions: readonly Prediction[],
  values: readonly (readonly HeadValue[])[],
): { name: string; temperature: number }[] {
  const layout = layoutOf(heads);
  return layout.places.map((place: Place, at) => {
    const decisions: Decisions = { logits: [], given: [] };
    for (const [i, prediction] of predictions.entries()) {
      const given = values[i] as readonly HeadValue[];
      if (isAsked(place, layout, given)) addDecisions(place.head, prediction, given[at] as HeadValue, decisions);
    }
    return { name: place.head.name, temperature: fitTemperature(decisions.logits, decisions.given) };
  });
}
