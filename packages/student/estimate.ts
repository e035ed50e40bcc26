import { elementCount } from '@understudy/graph';
import { bagDefaults } from './bag/hyperparameters.ts';
import { TrainingError } from './errors.ts';
import type { Candidate } from './family.ts';
import { settingsOf } from './learner.ts';
import { convArchitecture, convDefaults } from './sequence/conv.ts';
import type { Architecture } from './sequence/learner.ts';
import { transformerArchitecture, transformerDefaults } from './sequence/transformer.ts';

/** What a bundle holds beside weights: graph, tokenizer, descriptions. A token of a vocabulary takes as much in its files. */
const OTHER_BYTES = 50_000;
const BYTES_PER_TOKEN = 60;

function sequenceBytes({ parameters, features }: Architecture, vocabulary: number, labels: number): number {
  const weights = parameters(vocabulary).reduce((sum, { dims }) => sum + elementCount(dims), 0);
  return weights + features * labels + vocabulary * BYTES_PER_TOKEN;
}

/**
 * What a candidate is likely to cost before it is trained: megabytes of its bundle with int8 weights, and with the whole
 * vocabulary, which few texts do not fill.
 * @throws TrainingError `bad-settings` for settings that the family does not have, and for an encoder, whose size its
 *   folder says.
 */
export function estimate(candidate: Candidate, labels: number): { readonly megabytes: number } {
  const given = candidate.hyperparameters;
  const megabytes = (bytes: number): { megabytes: number } => ({ megabytes: (bytes + OTHER_BYTES) / 1e6 });
  switch (candidate.family) {
    case 'bag': {
      const { rows, width } = settingsOf(bagDefaults(labels, 1), given);
      return megabytes(rows * width + 4 * width * labels);
    }
    case 'conv': {
      const settings = settingsOf(convDefaults(1), given);
      return megabytes(sequenceBytes(convArchitecture(settings), settings.vocabulary, labels));
    }
    case 'transformer': {
      const settings = settingsOf(transformerDefaults(1), given);
      return megabytes(sequenceBytes(transformerArchitecture(settings), settings.vocabulary, labels));
    }
    case 'encoder':
      throw new TrainingError('bad-settings', 'the size of an encoder is that of its folder');
  }
}
