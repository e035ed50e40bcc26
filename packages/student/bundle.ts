import { GraphError, type ModelRequirements, requirementsOf } from '@understudy/graph';
import { type Files, openArchive, sha256Of, writeArchive } from './archive.ts';
import type { TextTokenizer } from './bytes.ts';
import { modelCard } from './card.ts';
import { type Description, DescriptionSchema } from './description.ts';
import { BundleError, TokenizerError } from './errors.ts';
import type { FinishedStudent } from './learner.ts';
import { loadTokenizer } from './tokenizer.ts';

/** A bundle that has passed every check. */
export type Bundle = {
  readonly digest: string;
  readonly description: Description;
  readonly model: Uint8Array;
  readonly tokenizer: TextTokenizer;
};

const MODEL = 'onnx/model.onnx';
const DESCRIPTION = 'understudy.json';
const REQUIRED = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'README.md', DESCRIPTION, MODEL];

/** What makes a `config.json` that of a classifier; what readers build from the rest is unused, for the graph is the model. */
function labelsJson({ heads: [head] }: Description): Record<string, unknown> {
  if (head?.kind !== 'softmax') return {};
  return {
    problem_type: 'single_label_classification',
    id2label: Object.fromEntries(head.labels.map((label, id) => [id, label])),
    label2id: Object.fromEntries(head.labels.map((label, id) => [label, id])),
  };
}

/** The files of a student, laid out as a Hugging Face model folder. */
export function bundleFiles(
  description: Description,
  model: Uint8Array,
  { config, tokenizer }: Pick<FinishedStudent, 'config' | 'tokenizer'>,
): Files {
  const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
  const json = (value: unknown): Uint8Array => utf8(`${JSON.stringify(value, null, 2)}\n`);
  return new Map([
    ['config.json', json({ ...config, ...labelsJson(description) })],
    ['tokenizer.json', json(tokenizer.json)],
    ['tokenizer_config.json', json(tokenizer.config)],
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

function parseJson(files: Files, name: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(files.get(name)));
  } catch (cause) {
    throw new BundleError('malformed', `${name} is not JSON`, { cause });
  }
}

function parseDescription(files: Files): Description {
  const parsed = DescriptionSchema.safeParse(parseJson(files, DESCRIPTION));
  if (parsed.success) return parsed.data;
  throw new BundleError('unsupported', `${DESCRIPTION} describes no student that this version can run`, {
    cause: parsed.error,
  });
}

function openTokenizer(files: Files): TextTokenizer {
  try {
    return loadTokenizer({
      json: parseJson(files, 'tokenizer.json'),
      config: parseJson(files, 'tokenizer_config.json'),
    });
  } catch (cause) {
    if (!(cause instanceof TokenizerError)) throw cause;
    throw new BundleError('unsupported', cause.message, { cause });
  }
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
  const description = parseDescription(files);
  const model = files.get(MODEL) as Uint8Array;
  checkModel(model, description);
  return { digest: sha256Of(archive), description, model, tokenizer: openTokenizer(files) };
}
