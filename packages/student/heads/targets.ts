import { type TensorValue, tensor } from '@understudy/graph';
import type { Head, HeadValue } from '@understudy/task/output/head';
import type { Example } from '../examples.ts';
import type { EncodedTexts } from '../learner.ts';
import { isAsked, type Layout, TAGS } from './layout.ts';
import { tagsOf } from './spans.ts';

/** What the teacher said of one head: its answer, and its probabilities where it gave any. */
export type HeadTarget = {
  readonly value: HeadValue;
  /** Of a choice's values, of each label of a set, of a number's bins and of its absence. A span has none. */
  readonly probabilities?: readonly number[];
};

/** Standard deviation of the distribution that stands for a number, as a share of its tolerance: 95% lie within it. */
const DEVIATION_SHARE = 0.5;

/** A number as a distribution over bins: a Gaussian around it (Imani and White 2018), or its one bin where nothing else agrees. */
function histogram(
  { bins, tolerance, absent }: Extract<Head, { kind: 'number' }>,
  value: number | undefined,
): number[] {
  if (value === undefined) return [...bins.map(() => 0), 1];
  const nearest = bins.reduce((best, bin) => (Math.abs(bin - value) < Math.abs(best - value) ? bin : best));
  const deviation = DEVIATION_SHARE * tolerance;
  const weights = bins.map((bin) =>
    deviation > 0 ? Math.exp(-(((bin - value) / deviation) ** 2) / 2) : Number(bin === nearest),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return [...weights.map((weight) => weight / sum), ...(absent === undefined ? [] : [0])];
}

/** A text head's target as numbers, as many as it has logits. */
export function denseTarget(head: Head, { value, probabilities }: HeadTarget): readonly number[] {
  if (probabilities) return probabilities;
  if (head.kind === 'choice' && value.kind === 'choice') return head.values.map((_, i) => Number(i === value.index));
  if (head.kind === 'tags' && value.kind === 'tags') {
    return head.labels.map((_, i) => Number(value.indices.includes(i)));
  }
  if (head.kind === 'number' && value.kind === 'number') return histogram(head, value.value);
  throw new TypeError(`head "${head.name}" of kind ${head.kind} has no target of kind ${value.kind}`);
}

/**
 * What a batch of examples is trained towards, as inputs of a step; in buffers that the next batch overwrites:
 * `targets` [texts, textWidth] and `example_weights` [texts]; with several heads also `head_weights` [texts, heads of
 * texts], and with spans `token_targets` [texts, tokens, tokenWidth] and `token_weights` [texts, tokens, spans].
 */
export class Targets {
  readonly #layout: Layout;
  readonly #batchTexts: number;
  readonly #isPlain: boolean;
  readonly #targets: Float32Array;
  readonly #weights: Float32Array;
  readonly #headWeights: Float32Array;
  readonly #tokens = new Map<number, { targets: Float32Array; weights: Float32Array }>();

  constructor(batchTexts: number, layout: Layout) {
    this.#layout = layout;
    this.#batchTexts = batchTexts;
    this.#isPlain = isPlain(layout);
    this.#targets = new Float32Array(batchTexts * layout.textWidth);
    this.#weights = new Float32Array(batchTexts);
    this.#headWeights = new Float32Array(batchTexts * layout.texts.length);
  }

  /** Fewer examples than a whole batch leave the rest as rows without weight. */
  of(
    examples: readonly Example[],
    indices: Uint32Array,
    texts: EncodedTexts,
    bucket: number,
  ): Record<string, TensorValue> {
    const { textWidth, texts: heads } = this.#layout;
    const length = texts.tokens?.lengths[bucket] ?? 0;
    const tokens = this.#tokensOf(length);
    for (const buffer of [this.#targets, this.#weights, this.#headWeights, tokens.targets, tokens.weights])
      buffer.fill(0);
    for (const [slot, index] of indices.entries()) {
      const { target, weight } = examples[index] as Example;
      this.#weights[slot] = weight;
      this.#putTexts(slot, target, weight);
      if (texts.tokens) this.#putTokens(slot, target, weight, texts.tokens.offsets(index), length, tokens);
    }
    const inputs: Record<string, TensorValue> = {
      example_weights: tensor('float32', [this.#batchTexts], this.#weights),
    };
    if (textWidth > 0) inputs.targets = tensor('float32', [this.#batchTexts, textWidth], this.#targets);
    if (this.#isPlain) return inputs;
    if (textWidth > 0) inputs.head_weights = tensor('float32', [this.#batchTexts, heads.length], this.#headWeights);
    if (length > 0) {
      const { tokenWidth } = this.#layout;
      inputs.token_targets = tensor('float32', [this.#batchTexts, length, tokenWidth], tokens.targets);
      inputs.token_weights = tensor('float32', [this.#batchTexts, length, tokenWidth / TAGS], tokens.weights);
    }
    return inputs;
  }

  #putTexts(slot: number, target: readonly HeadTarget[], weight: number): void {
    const { places, texts, textWidth } = this.#layout;
    const values = target.map(({ value }) => value);
    for (const [i, place] of texts.entries()) {
      if (!isAsked(place, this.#layout, values)) continue;
      const given = target[places.indexOf(place)] as HeadTarget;
      this.#targets.set(denseTarget(place.head, given), slot * textWidth + place.at);
      this.#headWeights[slot * texts.length + i] = weight;
    }
  }

  #putTokens(
    slot: number,
    target: readonly HeadTarget[],
    weight: number,
    offsets: Parameters<typeof tagsOf>[1],
    length: number,
    into: { targets: Float32Array; weights: Float32Array },
  ): void {
    const { places, tokens, tokenWidth } = this.#layout;
    const values = target.map(({ value }) => value);
    for (const [i, place] of tokens.entries()) {
      const value = values[places.indexOf(place)];
      if (value?.kind !== 'span' || !isAsked(place, this.#layout, values)) continue;
      const tags = tagsOf(value.spans, offsets);
      for (let token = 0; token < Math.min(tags.length, length); token++) {
        if (offsets.starts[token] === offsets.ends[token]) continue;
        const row = slot * length + token;
        into.targets[row * tokenWidth + place.at + (tags[token] as number)] = 1;
        into.weights[row * tokens.length + i] = weight;
      }
    }
  }

  #tokensOf(length: number): { targets: Float32Array; weights: Float32Array } {
    const known = this.#tokens.get(length);
    if (known) return known;
    const rows = this.#batchTexts * length;
    const { tokenWidth } = this.#layout;
    const made = {
      targets: new Float32Array(rows * tokenWidth),
      weights: new Float32Array((rows * tokenWidth) / TAGS),
    };
    this.#tokens.set(length, made);
    return made;
  }
}

/** Whether all there is to learn is one choice that every example makes. */
export const isPlain = ({ places }: Layout): boolean => places.length === 1 && places[0]?.head.kind === 'choice';
