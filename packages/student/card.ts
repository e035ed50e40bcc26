import type { Description } from './description.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** Text that stands in a Markdown table or sentence, whatever characters a label has. */
const plain = (text: string): string => `\`${text.replaceAll(/[`|\r\n]/g, ' ')}\``;

/** The model card (README.md) of a student. */
export function modelCard({ family, heads, lineage, training, precision, devAgreement }: Description): string {
  const [head] = heads as [Description['heads'][number]];
  return `---
library_name: transformers.js
pipeline_tag: text-classification
tags: [understudy, onnx, distillation]
---

# A student of ${plain(lineage.task.name)}

It answers \`${head.field}\` with one of ${head.labels.length} labels: ${head.labels.map(plain).join(', ')}.
It learned from the answers of a teacher to this one task, and knows nothing else.

| | |
| --- | --- |
| family | \`${family}\`: hashed byte n-grams, an embedding bag, a linear head; table in ${precision} |
| trained on | ${training.trainExamples} answers of the teacher, ${training.epochs.length} epochs |
| agreement with the teacher | ${percent(devAgreement)} of ${training.devExamples} dev examples, which also chose this student: a test set says more |
| task | \`${lineage.task.digest}\` |
| snapshot | \`${lineage.snapshotDigest}\` |
| teacher's fingerprint | ${plain(lineage.fingerprint)} |
| trained by | ${training.code} on ${training.runtime} (${training.device}, ${training.threads} threads), seed ${training.seed} |

Input: the UTF-8 bytes of the rendered prompt as \`input_ids\`, with \`attention_mask\`; \`tokenizer.json\` gives them.
Output: \`logits\` in the order of the labels. Probabilities are not calibrated: calibration and the confidence from which
on to believe an answer are in the policy that the evaluator made for this student.
`;
}
