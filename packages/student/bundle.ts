import { GraphError, type ModelRequirements, requirementsOf } from '@understudy/graph';
import { type Files, openArchive, sha256Of, writeArchive } from './archive.ts';
import { PAD_ID } from './bytes.ts';
import { modelCard } from './card.ts';
import { type Description, DescriptionSchema } from './description.ts';
import { BundleError } from './errors.ts';
import { MAX_TEXT_BYTES } from './limits.ts';
import { tokenizerConfig, tokenizerJson } from './tokenizer.ts';

/** A bundle that has passed every check. */
export type Bundle = { readonly digest: string; readonly description: Description; readonly model: Uint8Array };

const MODEL = 'onnx/model.onnx';
const DESCRIPTION = 'understudy.json';
const REQUIRED = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'README.md', DESCRIPTION, MODEL];

/**
 * The config.json of a classifier. Readers of Hugging Face models refuse types that they do not know; `bert` is the type
 * whose inputs and outputs a student has. What they build from it is unused: the graph is the model.
 */
const configJson = ({ heads: [head] }: Description): unknown => ({
  architectures: ['BertForSequenceClassification'],
  model_type: 'bert',
  problem_type: 'single_label_classification',
  id2label: Object.fromEntries((head?.labels ?? []).map((label, id) => [id, label])),
  label2id: Object.fromEntries((head?.labels ?? []).map((label, id) => [label, id])),
  vocab_size: PAD_ID + 1,
  pad_token_id: PAD_ID,
  max_position_embeddings: MAX_TEXT_BYTES,
});

/** The files of a student, laid out as a Hugging Face model folder. */
export function bundleFiles(description: Description, model: Uint8Array): Files {
  const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
  const json = (value: unknown): Uint8Array => utf8(`${JSON.stringify(value, null, 2)}\n`);
  return new Map([
    ['config.json', json(configJson(description))],
    ['tokenizer.json', json(tokenizerJson())],
    ['tokenizer_config.json', json(tokenizerConfig())],
    ['README.md', utf8(modelCard(description))],
    [DESCRIPTION, json(DescriptionSchema.parse(description))],
    [MODEL, model],
  ]);
}

/**
 * A bundle as one archive, stored as one blob: the same files give the same bytes, and `digest` is their SHA-256 (hex).
 * @throws BundleError for files that `openBundle` would refuse.
 */
export async function writeBundle(files: Files): Promise<{ digest: string; archive: Uint8Array }> {
  const archive = await writeArchive(files);
  const { digest } = await openBundle(archive);
  return { digest, archive };
}

function checkModel(model: Uint8Array, { heads }: Description): void {
  let requirements: ModelRequirements;
  try {
    requirements = requirementsOf(model);
  } catch (cause) {
    if (!(cause instanceof GraphError)) throw cause;
    throw new BundleError('malformed', `${MODEL}: ${cause.message}`, { cause });
  }
  const { domains, externalTensors, outputs } = requirements;
  if (externalTensors.length > 0) {
    throw new BundleError('external-data', `${MODEL} keeps the tensor "${externalTensors[0]}" outside of the file`);
  }
  const foreign = domains.filter((domain) => domain !== '');
  if (foreign.length > 0) {
    throw new BundleError('unknown-operator', `${MODEL} uses operators of "${foreign[0]}", not only standard ones`);
  }
  for (const { output } of heads) {
    if (!outputs.includes(output)) throw new BundleError('malformed', `${MODEL} has no output "${output}"`);
  }
}

function parseDescription(bytes: Uint8Array): Description {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new BundleError('malformed', `${DESCRIPTION} is not JSON`, { cause });
  }
  const parsed = DescriptionSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new BundleError('unsupported', `${DESCRIPTION} describes no student that this version can run`, {
    cause: parsed.error,
  });
}

/**
 * Opens a bundle: verifies each file against the manifest and, where given, the archive against its digest, and refuses
 * a model that reads other files or runs operators outside the standard.
 * @param expectedDigest SHA-256 (hex) of the archive.
 * @throws BundleError whose `code` says what is wrong.
 */
export async function openBundle(archive: Uint8Array, expectedDigest?: string): Promise<Bundle> {
  const files = await openArchive(archive, expectedDigest);
  for (const name of REQUIRED) {
    if (!files.has(name)) throw new BundleError('malformed', `the bundle has no ${name}`);
  }
  const description = parseDescription(files.get(DESCRIPTION) as Uint8Array);
  const model = files.get(MODEL) as Uint8Array;
  checkModel(model, description);
  return { digest: sha256Of(archive), description, model };
}
