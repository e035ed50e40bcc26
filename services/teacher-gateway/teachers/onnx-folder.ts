/** A classifier in Hugging Face layout: what its files say, read and checked before a runtime sees them. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GraphError, requirementsOf } from '@understudy/graph';
import { z } from 'zod';
import { ModelRefused } from './model-thread.ts';

/** Where a folder keeps its graph: the layout of transformers.js, and that of older exports. */
const MODEL_FILES = ['onnx/model.onnx', 'model.onnx'];
/** 64 bits tell models apart and stay readable in a report. */
const VERSION_DIGITS = 16;
/** Longer texts are cut, whatever the model could read: its memory may grow with the square of the length. */
const MAX_TOKENS = 8_192;
/** Families whose positions count from the padding id on, so that the table of positions is that much longer than a text. */
const POSITIONS_AFTER_PADDING = new Set(['roberta', 'xlm-roberta', 'camembert', 'mpnet']);

const ConfigSchema = z.looseObject({
  model_type: z.string().optional(),
  problem_type: z.string().nullish(),
  id2label: z.record(z.string().regex(/^\d+$/), z.string()),
  max_position_embeddings: z.int().positive().optional(),
  pad_token_id: z.int().nullish(),
});

const TokenizerConfigSchema = z.looseObject({
  pad_token: z.union([z.string(), z.looseObject({ content: z.string() })]).nullish(),
  model_max_length: z.number().positive().nullish(),
});

/** What tokenizer.json must say, because the library would take an unknown model for a table of whole words. */
const TokenizerSchema = z.looseObject({ model: z.looseObject({ type: z.enum(['WordPiece', 'BPE', 'Unigram']) }) });

export interface ClassifierFolder {
  /** Digest of the files. */
  readonly version: string;
  readonly model: Uint8Array;
  readonly tokenizer: { readonly json: object; readonly config: object };
  readonly padToken: string | undefined;
  readonly maxTokens: number;
  /** The model's own labels, in the order of its logits. */
  readonly labels: readonly string[];
}

/** @throws ModelRefused naming the file and what is wrong with it */
export const readClassifier = async (folder: string): Promise<ClassifierFolder> => {
  const refuse = (what: string, cause?: unknown): never => {
    throw new ModelRefused(`the model in ${folder} cannot be used: ${what}`, { cause });
  };
  const read = async (...names: string[]): Promise<Uint8Array> => {
    for (const name of names) {
      try {
        return await readFile(join(folder, name));
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') return refuse(`${name} cannot be read`, cause);
      }
    }
    return refuse(`it has no ${names.join(' or ')}; expected a folder in Hugging Face layout with an ONNX export`);
  };
  const parse = <T>(name: string, schema: z.ZodType<T>, bytes: Uint8Array): T => {
    try {
      return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
    } catch (cause) {
      return refuse(`${name}: ${cause instanceof z.ZodError ? z.prettifyError(cause) : 'it is not JSON'}`, cause);
    }
  };
  const parts = [
    await read('config.json'),
    await read('tokenizer.json'),
    await read('tokenizer_config.json'),
    await read(...MODEL_FILES),
  ] as const;
  const [configBytes, tokenizerBytes, tokenizerConfigBytes, model] = parts;
  const config = parse('config.json', ConfigSchema, configBytes);
  const json = parse('tokenizer.json', TokenizerSchema, tokenizerBytes);
  const tokenizerConfig = parse('tokenizer_config.json', TokenizerConfigSchema, tokenizerConfigBytes);
  if (config.problem_type === 'multi_label_classification' || config.problem_type === 'regression') {
    refuse(`config.json: expected a model that chooses one label, got problem_type ${config.problem_type}`);
  }
  checkModel(model, refuse);
  const { pad_token: pad } = tokenizerConfig;
  return {
    version: digestOf(parts),
    model,
    tokenizer: { json, config: tokenizerConfig },
    padToken: typeof pad === 'string' ? pad : pad?.content,
    maxTokens: Math.min(MAX_TOKENS, positionsOf(config), tokenizerConfig.model_max_length ?? MAX_TOKENS),
    labels: labelsOf(config.id2label, refuse),
  };
};

const labelsOf = (id2label: Readonly<Record<string, string>>, refuse: (what: string) => never): string[] => {
  const labels = Object.keys(id2label).map((_, id) => id2label[id] ?? refuse(`config.json: id2label has no ${id}`));
  if (labels.length < 2) refuse(`config.json: expected at least two labels, got ${labels.length}`);
  return labels;
};

const positionsOf = ({ model_type: type = '', ...config }: z.infer<typeof ConfigSchema>): number => {
  const offset = POSITIONS_AFTER_PADDING.has(type) ? (config.pad_token_id ?? 1) + 1 : 0;
  return (config.max_position_embeddings ?? MAX_TOKENS + offset) - offset;
};

const checkModel = (model: Uint8Array, refuse: (what: string, cause?: unknown) => never): void => {
  try {
    const { externalTensors, outputs } = requirementsOf(model);
    if (externalTensors.length > 0) refuse(`the tensor "${externalTensors[0]}" is kept outside of the file`);
    if (!outputs.includes('logits'))
      refuse(`expected an output "logits", got ${outputs.join(', ')}: is it a classifier?`);
  } catch (cause) {
    if (!(cause instanceof GraphError)) throw cause;
    refuse(`${cause.message}; is it complete?`, cause);
  }
};

const digestOf = (parts: readonly Uint8Array[]): string => {
  const each = parts.map((part) => createHash('sha256').update(part).digest('hex'));
  return `sha256:${createHash('sha256').update(each.join('\n')).digest('hex').slice(0, VERSION_DIGITS)}`;
};
