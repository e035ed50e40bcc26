import { elementCount } from '@understudy/graph';
import type { Head } from '@understudy/task/output/head';
import { bagDefaults } from './bag/hyperparameters.ts';
import { taggingBytes } from './bag/tagging.ts';
import { TrainingError } from './errors.ts';
import type { Candidate } from './family.ts';
import { type Layout, layoutOf } from './heads/layout.ts';
import { settingsOf } from './learner.ts';
import { convArchitecture, convDefaults } from './sequence/conv.ts';
import type { Architecture } from './sequence/learner.ts';
import { transformerArchitecture, transformerDefaults } from './sequence/transformer.ts';

/** What a bundle holds beside weights: graph, tokenizer, descriptions. A token of a vocabulary takes as much in its files. */
const OTHER_BYTES = 50_000;
const BYTES_PER_TOKEN = 60;

function sequenceBytes(architecture: Architecture, vocabulary: number, { textWidth, tokenWidth }: Layout): number {
  const { parameters, tokenParameters, features, tokenFeatures } = architecture;
  const layers = [...parameters(vocabulary), ...(tokenWidth > 0 ? tokenParameters : [])];
  const weights = layers.reduce((sum, { dims }) => sum + elementCount(dims), 0);
  return weights + features * textWidth + tokenFeatures * tokenWidth + vocabulary * BYTES_PER_TOKEN;
}

/**
 * What a candidate is likely to cost before it is trained: megabytes of its bundle with int8 weights, and with the whole
 * vocabulary, which few texts do not fill.
 * @throws TrainingError `bad-settings` for settings that the family does not have, and for an encoder, whose size its
 *   folder says.
 */
export function estimate(candidate: Candidate, heads: readonly Head[]): { readonly megabytes: number } {
  const layout = layoutOf(heads);
  const given = candidate.hyperparameters;
  const megabytes = (bytes: number): { megabytes: number } => ({ megabytes: (bytes + OTHER_BYTES) / 1e6 });
  switch (candidate.family) {
    case 'bag': {
      const { rows, width } = settingsOf(bagDefaults(layout.textWidth, 1), given);
      return megabytes(
        rows * width + 4 * width * layout.textWidth + (layout.tokenWidth > 0 ? taggingBytes(rows, layout) : 0),
      );
    }
    case 'conv': {
      const settings = settingsOf(convDefaults(1), given);
      return megabytes(sequenceBytes(convArchitecture(settings), settings.vocabulary, layout));
    }
    case 'transformer': {
      const settings = settingsOf(transformerDefaults(1), given);
      return megabytes(sequenceBytes(transformerArchitecture(settings), settings.vocabulary, layout));
    }
    case 'encoder':
      throw new TrainingError('bad-settings', 'the size of an encoder is that of its folder');
  }
}
