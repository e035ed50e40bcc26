import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GraphError, requirementsOf } from '@understudy/graph';
import { z } from 'zod';
import { sha256Of } from '../archive.ts';
import type { TextTokenizer } from '../bytes.ts';
import { TokenizerError, TrainingError } from '../errors.ts';
import { MAX_BUNDLE_FILE_BYTES, MAX_TOKENS } from '../limits.ts';
import { loadTokenizer, type TokenizerFiles } from '../tokenizer.ts';

/** Where a model folder keeps its graph: the layout of transformers.js, and that of older exports. */
const MODEL_FILES = ['onnx/model.onnx', 'model.onnx'];
const POOLING_FILE = '1_Pooling/config.json';

/** How token states become one vector: their mean, or the state of the first token. */
export type Pooling = 'mean' | 'first';

/** A published encoder, read and checked but not loaded. */
export type EncoderFolder = {
  /** SHA-256 (hex) of what the encoder is made of: its files and their digests. */
  readonly digest: string;
  readonly model: Uint8Array;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tokenizerFiles: TokenizerFiles;
  readonly tokenizer: TextTokenizer;
  /** Of a text: the tokenizer cuts what is beyond, and the encoder has no positions for padding beyond. */
  readonly maxTokens: number;
  readonly pooling: Pooling;
};

const ConfigSchema = z.looseObject({
  model_type: z.string().min(1),
  max_position_embeddings: z.int().positive().optional(),
  pad_token_id: z.int().nullish(),
});

const PoolingSchema = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_mean_tokens: z.boolean().default(false),
});

const bad = (folder: string, what: string, cause?: unknown): TrainingError =>
  new TrainingError('bad-encoder', `the encoder in ${folder} cannot be used: ${what}`, { cause });

async function readOptional(folder: string, name: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(join(folder, name));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw bad(folder, `${name} cannot be read`, cause);
  }
}

async function read(folder: string, ...names: string[]): Promise<[name: string, bytes: Uint8Array]> {
  for (const name of names) {
    const bytes = await readOptional(folder, name);
    if (bytes) return [name, bytes];
  }
  throw bad(folder, `it has no ${names.join(' or ')}; a folder in Hugging Face layout with an ONNX export is expected`);
}

function parseJson(folder: string, name: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw bad(folder, `${name} is not JSON; is it complete?`, cause);
  }
}

function parse<T>(folder: string, name: string, schema: z.ZodType<T>, bytes: Uint8Array): T {
  const parsed = schema.safeParse(parseJson(folder, name, bytes));
  if (parsed.success) return parsed.data;
  throw bad(folder, `${name}: ${z.prettifyError(parsed.error)}`, parsed.error);
}

/** Families whose positions count from the padding id on, so that the table of positions is that much longer than a text. */
const POSITIONS_AFTER_PADDING = new Set(['roberta', 'xlm-roberta', 'camembert', 'mpnet']);

/** How many tokens the encoder has positions for. */
function positionsOf(config: z.infer<typeof ConfigSchema>): number {
  const positions = config.max_position_embeddings ?? MAX_TOKENS;
  const offset = POSITIONS_AFTER_PADDING.has(config.model_type) ? (config.pad_token_id ?? 1) + 1 : 0;
  return Math.min(positions - offset, MAX_TOKENS);
}

/** The tokenizer with a limit that fits the encoder, and without padding of its own: it is padded here. */
function limited(json: unknown, config: unknown, maxTokens: number): TokenizerFiles & { readonly limit: number } {
  const given = z.looseObject({ model_max_length: z.number().positive().optional() }).parse(config);
  const limit = Math.min(given.model_max_length ?? maxTokens, maxTokens);
  const truncation = { direction: 'Right', max_length: limit, strategy: 'LongestFirst', stride: 0 };
  return {
    json: { ...(json as object), padding: null, truncation },
    config: { ...given, model_max_length: limit },
    limit,
  };
}

function openTokenizer(folder: string, files: TokenizerFiles): TextTokenizer {
  try {
    return loadTokenizer(files);
  } catch (cause) {
    if (!(cause instanceof TokenizerError)) throw cause;
    throw bad(folder, cause.message, cause);
  }
}

function checkModel(folder: string, name: string, model: Uint8Array): void {
  if (model.length > MAX_BUNDLE_FILE_BYTES) {
    throw bad(folder, `${name} has ${model.length} bytes; at most ${MAX_BUNDLE_FILE_BYTES} fit into a bundle`);
  }
  try {
    const { externalTensors } = requirementsOf(model);
    if (externalTensors.length === 0) return;
    throw bad(folder, `${name} keeps the tensor "${externalTensors[0]}" outside of the file`);
  } catch (cause) {
    if (!(cause instanceof GraphError)) throw cause;
    throw bad(folder, `${name}: ${cause.message}; is it complete?`, cause);
  }
}

function poolingOf(folder: string, bytes: Uint8Array | undefined): Pooling {
  if (!bytes) return 'mean';
  const modes = parse(folder, POOLING_FILE, PoolingSchema, bytes);
  if (modes.pooling_mode_mean_tokens) return 'mean';
  if (modes.pooling_mode_cls_token) return 'first';
  throw bad(folder, `${POOLING_FILE} names neither the mean of tokens nor the first token`);
}

/**
 * Reads a folder in Hugging Face layout: `config.json`, `tokenizer.json`, `tokenizer_config.json`, an ONNX export and,
 * where it says how to pool, `1_Pooling/config.json` of sentence-transformers.
 * @throws TrainingError `bad-encoder` naming the file and what is wrong with it.
 */
export async function readEncoderFolder(folder: string): Promise<EncoderFolder> {
  const files = [
    await read(folder, 'config.json'),
    await read(folder, 'tokenizer.json'),
    await read(folder, 'tokenizer_config.json'),
    await read(folder, ...MODEL_FILES),
  ] as const;
  const pooling = await readOptional(folder, POOLING_FILE);
  const [[, config], [, tokenizer], [, tokenizerConfig], [modelName, model]] = files;
  checkModel(folder, modelName, model);
  const settings = parse(folder, 'config.json', ConfigSchema, config);
  const { limit, ...tokenizerFiles } = limited(
    parseJson(folder, 'tokenizer.json', tokenizer),
    parseJson(folder, 'tokenizer_config.json', tokenizerConfig),
    positionsOf(settings),
  );
  const parts = [config, tokenizer, tokenizerConfig, model, pooling ?? new Uint8Array()];
  return {
    digest: sha256Of(new TextEncoder().encode(parts.map(sha256Of).join('\n'))),
    model,
    config: settings,
    tokenizerFiles,
    maxTokens: limit,
    tokenizer: openTokenizer(folder, tokenizerFiles),
    pooling: poolingOf(folder, pooling),
  };
}
