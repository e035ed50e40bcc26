import type { Description } from './description.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** Text that stands in a Markdown table or sentence, whatever characters a label has. */
const plain = (text: string): string => `\`${text.replaceAll(/[`|\r\n]/g, ' ')}\``;

const FAMILY: Readonly<Record<Description['family'], string>> = {
  bag: 'hashed byte n-grams, an embedding bag, a linear head',
  conv: 'embeddings of byte pairs, convolutions of several widths, their largest values, a linear head',
  transformer: 'a small encoder over byte pairs, the mean of its states, a linear head',
  encoder: 'a published encoder, one vector for a text, a linear head',
};

/** What a student started from, as a row of the card. */
const pretrainedRow = ({ pretrained }: Description['training']): string =>
  pretrained ? `\n| started from | \`${pretrained.digest}\`, of which ${pretrained.train} were trained |` : '';

const OUTPUTS =
  '`logits.<name>` for each of them, in the order of its values, labels or bins; of copied text three for each token (outside, first, further)';

/** What a head answers, as a sentence or an item of a list. */
function headLine(head: Description['heads'][number]): string {
  switch (head.kind) {
    case 'softmax':
      return `It answers \`${head.field}\` with one of ${head.labels.length} labels: ${head.labels.map(plain).join(', ')}.`;
    case 'choice':
      return `- ${plain(head.name)}: one of ${head.values.map((value) => plain(value || 'left out')).join(', ')}`;
    case 'tags':
      return `- ${plain(head.name)}: some of ${head.labels.map(plain).join(', ')}`;
    case 'number':
      return `- ${plain(head.name)}: a number from ${head.minimum} to ${head.maximum}, within ${head.tolerance}`;
    case 'span':
      return `- ${plain(head.name)}: ${head.many ? 'texts' : 'text'} copied from the input`;
  }
}

/** The model card (README.md) of a student. */
export function modelCard({ family, heads, lineage, training, precision, devAgreement }: Description): string {
  return `---
library_name: transformers.js
pipeline_tag: ${heads[0]?.kind === 'softmax' ? 'text-classification' : 'feature-extraction'}
tags: [understudy, onnx, distillation]
---

# A student of ${plain(lineage.task.name)}

${heads.map(headLine).join('\n')}
It learned from the answers of a teacher to this one task.

| | |
| --- | --- |
| family | \`${family}\`: ${FAMILY[family]}; weights in ${precision} |
| trained on | ${training.trainExamples} answers of the teacher, ${training.epochs.length} epochs |
| agreement with the teacher | ${percent(devAgreement)} of ${training.devExamples} dev examples, which also chose this student: a test set says more |
| task | \`${lineage.task.digest}\` |${pretrainedRow(training)}
| snapshot | \`${lineage.snapshotDigest}\` |
| teacher's fingerprint | ${plain(lineage.fingerprint)} |
| trained by | ${training.code} on ${training.runtime} (${training.device}, ${training.threads} threads), seed ${training.seed} |

Input: the rendered prompt as \`input_ids\` with \`attention_mask\`, as \`tokenizer.json\` gives them.
Output: ${heads[0]?.kind === 'softmax' ? '`logits` in the order of the labels' : OUTPUTS}. Probabilities are not calibrated: calibration and the confidence from which
on to believe an answer are in the policy that the evaluator made for this student.
`;
}
