/**
 * Chooses the task's examples and prints them as JSON Lines:
 *
 *   node examples/email-triage/choose-examples.ts > examples.jsonl && mv examples.jsonl examples/email-triage/
 *
 * It goes about it as one would with a person who is willing to label 128 mails and no more. First they are shown the mails
 * in the middle of the groups that the unlabelled mails fall into; then, round by round, mails in the middle of groups of
 * those that the teacher, as it is by then, is least sure of. Only a mail that is shown gets its label, the name of its
 * folder. The same corpus and encoder give the same examples.
 */
import { fileURLToPath } from 'node:url';
import { compileTask, loadTask, type RenderedPrompt, sha256Hex } from '@understudy/task';
import { readSources } from '../../services/prompt/sources/read.ts';
import { openSentenceEncoder } from '../../services/teacher-gateway/teachers/embedded-encoder.ts';
import { fitHead } from '../../services/teacher-gateway/teachers/embedded-head.ts';
import { type Weighted, weightedMeans } from './weighted-means.ts';

/** Orders the mails, and so begins the groups. */
const SEED = 1;
/** Half by what there is, half by what is doubtful; more rounds than four gained nothing. */
const FIRST_EXAMPLES = 64;
const ROUNDS = 4;
const EXAMPLES_PER_ROUND = 16;
/** The share of mails, most doubtful first, that a later example may come from. */
const DOUBTFUL_SHARE = 0.3;
/** Examples carry the whole mail, so that it is recognised as one and kept out of all splits; 70% of mails are shorter. */
const MAX_EXAMPLE_CHARACTERS = 1_500;

interface Mail extends RenderedPrompt {
  readonly reference: string;
  readonly embedding: Float32Array;
}

const task = await loadTask(fileURLToPath(new URL('task.yaml', import.meta.url)));
const compiled = compileTask(task);
for (const { inputJson, reference } of chooseExamples(await readMails())) {
  console.log(JSON.stringify({ input: JSON.parse(inputJson), output: { [compiled.output.single!.field]: reference } }));
}

/** Distinct mails with their embeddings, in an order as good as random. */
async function readMails(): Promise<Mail[]> {
  const distinct = new Map<string, RenderedPrompt & { reference: string }>();
  for await (const record of readSources(compiled, {})) {
    if ('fault' in record) throw new Error(`${record.position}: ${record.fault}`);
    const prompt = compiled.renderPrompt(record.input);
    distinct.set(prompt.text, { ...prompt, reference: String(record.reference) });
  }
  const rank = new Map([...distinct.values()].map((mail) => [mail, sha256Hex(`${SEED}\n${mail.promptId}`)]));
  const ordered = [...rank].sort(([, a], [, b]) => (a < b ? -1 : 1)).map(([mail]) => mail);
  const encoder = await openSentenceEncoder();
  const mails: Mail[] = [];
  for (const mail of ordered) mails.push({ ...mail, embedding: (await encoder.encode(mail.text)).embedding });
  await encoder.close();
  return mails;
}

function chooseExamples(mails: readonly Mail[]): Mail[] {
  const short = mails.filter(({ inputJson }) => inputJson.length <= MAX_EXAMPLE_CHARACTERS);
  const everything = mails.map(({ embedding }) => ({ embedding, weight: 1 }));
  const examples = middles(everything, FIRST_EXAMPLES, short);
  for (let round = 0; round < ROUNDS; round++) {
    const { labels } = compiled.output.single!;
    const labelled = examples.map(({ embedding, reference }) => ({ embedding, label: labels.indexOf(reference) }));
    const head = fitHead(labelled, labels.length);
    const doubts = short
      .filter((mail) => !examples.includes(mail))
      .map((mail) => ({ ...mail, mail, weight: doubt(head.probabilities(mail.embedding)) ** 2 }))
      .sort((a, b) => b.weight - a.weight);
    const doubtful = doubts.slice(0, Math.round(short.length * DOUBTFUL_SHARE)).map(({ mail }) => mail);
    examples.push(...middles(doubts, EXAMPLES_PER_ROUND, doubtful));
  }
  return examples;
}

/** The candidates nearest to the weighted means of as many groups. */
function middles(points: readonly Weighted[], groups: number, candidates: readonly Mail[]): Mail[] {
  const means = weightedMeans(points, groups);
  return [...new Set(means.map((mean) => candidates[mean.nearestOf(candidates)] as Mail))];
}

/** 0 when one label is certain, 1 when the two most probable are equally so. */
function doubt(probabilities: Float64Array): number {
  const [first = 1, second = 0] = probabilities.toSorted((a, b) => b - a);
  return 1 - (first - second);
}
