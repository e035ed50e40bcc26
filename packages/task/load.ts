import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Document, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { TaskError, type TaskIssue } from './errors.ts';
import { MAX_EXAMPLES, MAX_TASK_BYTES } from './limits.ts';
import { originOfPath } from './origin.ts';
import type { Task } from './schema.ts';
import { type KeyPath, validateTask } from './validate.ts';

/**
 * Reads a task file (YAML, or JSON, which is YAML too), takes in its examples from JSONL where `examples` is a path,
 * and resolves its paths against the file's folder. Throws `TaskError` naming file, line, key path, what was expected
 * and what to do.
 */
export async function loadTask(file: string): Promise<Task> {
  const text = await readBounded(file, file, 'task file');
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new TaskError(
      file,
      document.errors.map((error) => ({
        path: '',
        message: `not valid YAML: ${error.message}; correct the line`,
        line: lineCounter.linePos(error.pos[0]).line,
      })),
    );
  }
  const raw = contentOf(document, file);
  if (!isRecord(raw))
    throw new TaskError(file, [{ path: '', message: 'expected a mapping of task keys, e.g. name: …' }]);

  const folder = dirname(resolve(file));
  const inlined = await inlineExamples(raw.examples, folder, file);
  const resolved = {
    ...withAbsolutePaths(raw, folder),
    ...(inlined === undefined ? {} : { examples: inlined.examples }),
  };
  const locate = (path: KeyPath): Partial<TaskIssue> => {
    const example = path[0] === 'examples' ? inlined?.lines[Number(path[1])] : undefined;
    if (example !== undefined) return { file: inlined?.file, line: example };
    return { line: lineOf(document, lineCounter, path) };
  };
  const task = validateTask(resolved, file, locate);
  await requireModels(task, file, locate);
  return task;
}

/** What the document says, where it is a value that JSON could hold too: a finite tree. */
function contentOf(document: Document, file: string): unknown {
  try {
    const value: unknown = document.toJS();
    JSON.stringify(value);
    return value;
  } catch (cause) {
    const message = `expected aliases (*name) that stand for small values and never for what they are part of: ${String(cause)}; write the values out`;
    throw new TaskError(file, [{ path: '', message }], { cause });
  }
}

interface InlinedExamples {
  file: string;
  examples: unknown[];
  /** 1-based line of each example. */
  lines: number[];
}

async function inlineExamples(value: unknown, folder: string, origin: string): Promise<InlinedExamples | undefined> {
  if (typeof value !== 'string') return undefined;
  const file = resolve(folder, value);
  const text = await readBounded(file, origin, 'examples file');
  const inlined: InlinedExamples = { file, examples: [], lines: [] };
  const issues: TaskIssue[] = [];
  text.split('\n').forEach((content, index) => {
    if (content.trim() === '') return;
    try {
      inlined.examples.push(JSON.parse(content));
      inlined.lines.push(index + 1);
    } catch (cause) {
      const message = `expected one JSON object a line, {"input": {…}, "output": {…}}: ${String(cause)}; correct the line`;
      issues.push({ path: 'examples', file, line: index + 1, message });
    }
  });
  if (inlined.examples.length === 0 && issues.length === 0) {
    issues.push({ path: 'examples', file, message: 'expected at least one example, got an empty file; add some' });
  }
  if (issues.length > 0) throw new TaskError(origin, issues.slice(0, 20));
  return inlined;
}

function withAbsolutePaths(raw: Record<string, unknown>, folder: string): Record<string, unknown> {
  const resolved = { ...raw };
  const sources = raw.sources;
  if (Array.isArray(sources)) resolved.sources = sources.map((source) => absolute(named(source), 'path', folder));
  if ('teacher' in raw) resolved.teacher = absolute(absolute(raw.teacher, 'apiKeyFile', folder), 'folder', folder);
  if (isRecord(raw.training) && 'encoder' in raw.training) {
    resolved.training = { ...raw.training, encoder: absolute(raw.training.encoder, 'folder', folder) };
  }
  return resolved;
}

/** A path that is made absolute keeps the name that it was written as: pairs are told apart by it, wherever the folder is moved. */
function named(source: unknown): unknown {
  if (!isRecord(source) || 'name' in source || typeof source.path !== 'string' || source.path === '') return source;
  return { ...source, name: originOfPath(source.path) };
}

/** What the folder of a published model must hold, one of each. */
const MODEL_FILES = [['config.json'], ['tokenizer.json'], ['tokenizer_config.json'], ['onnx/model.onnx', 'model.onnx']];

/** A mistyped folder is told here, and not after the teacher was paid. */
async function requireModels(
  { teacher, training }: Task,
  origin: string,
  locate: (path: KeyPath) => Partial<TaskIssue>,
): Promise<void> {
  const encoder = training.encoder?.folder;
  if (encoder !== undefined) await requireModel(encoder, ['training', 'encoder', 'folder'], origin, locate);
  if (teacher.kind === 'onnx') await requireModel(teacher.folder, ['teacher', 'folder'], origin, locate);
}

async function requireModel(
  folder: string,
  path: KeyPath,
  origin: string,
  locate: (path: KeyPath) => Partial<TaskIssue>,
): Promise<void> {
  for (const names of MODEL_FILES) {
    const readable = await Promise.allSettled(names.map((name) => access(resolve(folder, name), constants.R_OK)));
    if (readable.some(({ status }) => status === 'fulfilled')) continue;
    const message = `expected a folder in Hugging Face layout, but ${folder} has no readable ${names.join(' or ')}; correct the path, or export the model to ONNX`;
    throw new TaskError(origin, [{ path: path.join('.'), message, ...locate(path) }]);
  }
}

function absolute(value: unknown, key: string, folder: string): unknown {
  if (!isRecord(value)) return value;
  const path = value[key];
  return typeof path === 'string' && path !== '' && !path.startsWith('s3://')
    ? { ...value, [key]: resolve(folder, path) }
    : value;
}

async function readBounded(file: string, origin: string, what: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > MAX_TASK_BYTES) {
      const message = `expected a ${what} of at most ${MAX_TASK_BYTES} bytes, got ${size}; keep at most ${MAX_EXAMPLES} examples`;
      throw new TaskError(origin, [{ path: '', file, message }]);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
  } catch (cause) {
    if (cause instanceof TaskError) throw cause;
    const message = `expected a readable ${what} in UTF-8: ${String(cause)}; check the path`;
    throw new TaskError(origin, [{ path: '', file, message }], { cause });
  }
}

/** Line of the deepest part of the path that the file has. */
function lineOf(document: Document, lineCounter: LineCounter, path: KeyPath): number | undefined {
  let node: unknown = document.contents;
  let offset = 0;
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (pair === undefined) break;
      if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      if (isMap(node) || isSeq(node) || isScalar(node)) offset = node.range?.[0] ?? offset;
    } else break;
  }
  return lineCounter.linePos(offset).line;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
