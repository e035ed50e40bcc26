import type { Evaluation } from './evaluation.ts';
import { count, oneLine } from './format.ts';

type Cap = NonNullable<Evaluation['suspects']>['caps'][number];

/** What was found in the pairs that a person should know, as rows of a report; nothing where nothing was. */
export const suspectRows = ({ suspects, twins, floors }: Evaluation, task: string): string[][] => {
  const open = (floors?.parts ?? []).filter(({ by, standing }) => by === 'source' && standing === 'undetermined');
  const rows = [
    ...(open.length > 0 ? [`too few pairs to tell of ${open.map(({ name }) => name).join(', ')}`] : []),
    ...(suspects?.caps ?? []).map((cap) => capText(cap)),
    ...decidedText(suspects),
    ...foldsText(suspects?.folds ?? null),
    ...(twins && twins.ofTrain + twins.ofTest > 0
      ? [
          `${count(twins.ofTrain + twins.ofTest)} test pairs do not count: ${count(twins.ofTrain)} are in train too, ${count(twins.ofTest)} in test twice`,
        ]
      : []),
  ];
  const toSettle = (suspects?.caps.length ?? 0) + (suspects?.folds?.suspects ?? 0) > 0;
  const all = toSettle ? [...rows, `understudy review ${task} lists them`] : rows;
  return all.map((text, index) => [index === 0 ? 'suspicious' : '', text]);
};

/** A cap in words. */
export const capText = ({ kind, what, origin, answer, pairs, kept }: Cap): string => {
  const source = origin || 'an unnamed source';
  const about =
    kind === 'trigger'
      ? `pairs of ${source} with ${JSON.stringify(what)} have the answer ${oneLine(answer)}, which all else in them contradicts`
      : `near-copies of ${source} have the answer ${oneLine(answer)}, other sources say otherwise`;
  return `${count(pairs)} ${about}: ${count(kept)} trained`;
};

const decidedText = (suspects: Evaluation['suspects']): string[] => {
  if (!suspects || suspects.settled + suspects.dropped + suspects.retired === 0) return [];
  const { settled, dropped, retired } = suspects;
  return [
    `people settled ${count(settled)} train pairs and dropped ${count(dropped)}; ${count(retired)} of dev and test that they decided about do not judge`,
  ];
};

const foldsText = (folds: NonNullable<Evaluation['suspects']>['folds']): string[] =>
  folds
    ? [
        `${count(folds.suspects)} of ${count(folds.pairs)} train pairs have an answer that a student which did not learn from them is sure to contradict`,
      ]
    : [];
