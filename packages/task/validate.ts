import { isAbsolute } from 'node:path';
import type { z } from 'zod';
import { answerValidator } from './answer.ts';
import { templateFrame } from './call.ts';
import { canonicalJson } from './canonical.ts';
import { type CompiledTask, compileTask } from './compile.ts';
import { InputError, TaskError, type TaskIssue } from './errors.ts';
import { MAX_TASK_BYTES } from './limits.ts';
import { compileSchema } from './output/compile.ts';
import { LEFT_TO_TEACHER } from './output/head.ts';
import { type Task, TaskSchema } from './schema.ts';
import { type Fault, relativePath, sourceFaults } from './source-faults.ts';
import { templateFields } from './template.ts';

export type KeyPath = readonly PropertyKey[];

/**
 * Checks a task given as plain data, defaults filled in. `locate` finds the file and line of a key path.
 * Throws `TaskError` with every issue found.
 */
export function validateTask(
  raw: unknown,
  origin: string,
  locate: (path: KeyPath) => Partial<TaskIssue> = () => ({}),
): Task {
  const parsed = TaskSchema.safeParse(raw, { error: plainMessage, reportInput: true });
  const faults: Fault[] = parsed.success
    ? crossFaults(parsed.data)
    : parsed.error.issues.flatMap((issue) => shapeFaults(issue));
  if (faults.length > 0) {
    const issues = faults.map(({ path, message }) => ({ path: pathText(path), message, ...locate(path) }));
    throw new TaskError(origin, issues);
  }
  if (!parsed.success) throw new TypeError('zod refused a task without an issue', { cause: parsed.error });
  return parsed.data;
}

/** Parses a task from JSON text as it travels over RPC and in KV: everything inline, paths absolute. Throws `TaskError`. */
export function parseTask(json: string, origin = 'task'): Task {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (cause) {
    throw new TaskError(origin, [{ path: '', message: `expected a task as JSON: ${String(cause)}` }], { cause });
  }
  return validateTask(raw, origin);
}

function shapeFaults(issue: z.core.$ZodIssue): Fault[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: issue.message }));
  }
  const complete = issue.code === 'custom' && issue.params?.complete === true;
  const told = complete || issue.message.includes('got ') || issue.input === undefined;
  return [{ path: issue.path, message: told ? issue.message : `${issue.message}, got ${shown(issue.input)}` }];
}

/** Words for the checks whose schema has none of its own. */
function plainMessage(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return `expected ${expectation(issue)}, got nothing; add it`;
  return `expected ${expectation(issue)}, got ${shown(issue.input)}; change it`;
}

function expectation(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return (
        { int: 'a whole number', record: 'a mapping', object: 'a mapping', array: 'a list' }[String(issue.expected)] ??
        `a ${String(issue.expected)}`
      );
    case 'invalid_value':
      return `one of ${(issue.values as unknown[]).join(', ')}`;
    case 'too_small':
      return `${issue.inclusive === false ? 'more than' : 'at least'} ${String(issue.minimum)}${unitOf(issue)}`;
    case 'too_big':
      return `at most ${String(issue.maximum)}${unitOf(issue)}`;
    default:
      return `a value that fits (${issue.code})`;
  }
}

function unitOf(issue: z.core.$ZodRawIssue): string {
  if (issue.origin === 'array') return ' items';
  return issue.origin === 'string' ? ' characters' : '';
}

function crossFaults(task: Task): Fault[] {
  const output = outputFaults(task);
  const faults = [
    ...templateFaults(task),
    ...output,
    // Without a sound schema no example can be held against it.
    ...(output.length === 0 ? exampleFaults(task) : []),
    ...sourceFaults(task, compileTask(task).output.single?.labels),
    ...moneyFaults(task),
    ...trainingFaults(task),
  ];
  const held = task.splits.dev + task.splits.test;
  if (held > 0.5) {
    faults.push({
      path: ['splits'],
      message: `expected dev and test together at most 0.5, got ${held}; leave at least half to train`,
    });
  }
  const bytes = Buffer.byteLength(canonicalJson(task));
  if (bytes > MAX_TASK_BYTES) {
    faults.push({
      path: [],
      message: `expected at most ${MAX_TASK_BYTES} bytes with examples inline, got ${bytes}; shorten or drop examples`,
    });
  }
  return faults;
}

function templateFaults(task: Task): Fault[] {
  const path = ['prompt', 'template'];
  const used = templateFields(task.prompt.template);
  const fields = task.input.fields;
  if (used.length === 0) {
    return [{ path, message: `expected at least one field in double braces, e.g. {{${fields[0]}}}, got none; add it` }];
  }
  if (task.matchCalls !== false && (fields.length > 1 || !templateFrame(task.prompt.template))) {
    const message = `expected, because of matchCalls, one field that stands once in the template, got ${task.prompt.template}; the input is taken out of a user message at its place`;
    return [{ path, message }];
  }
  const unknown = used.filter((field) => !fields.includes(field));
  if (unknown.length === 0) return [];
  return [
    { path, message: `expected fields of the input (${fields.join(', ')}), got ${unknown.join(', ')}; correct it` },
  ];
}

function exampleFaults(task: Task): Fault[] {
  const compiled = compileTask(task);
  const seen = new Map<string, number>();
  const given = new Set<string>();
  const faults: Fault[] = [];
  task.examples.forEach((example, index) => {
    let text: string | undefined;
    try {
      const { promptId: id, text: rendered } = compiled.renderPrompt(example.input);
      text = rendered;
      const first = seen.get(id);
      if (first !== undefined) {
        faults.push({ path: ['examples', index], message: `same input as examples[${first}]; remove one of the two` });
      }
      seen.set(id, index);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push({ path: ['examples', index, 'input'], message: error.message });
    }
    const answer = compiled.parseAnswer(JSON.stringify(example.output), text);
    if (answer.ok) given.add(answer.answer);
    else faults.push({ path: ['examples', index, 'output'], message: answer.message });
  });
  return faults.length === 0 ? classifierFaults(compiled, given) : faults;
}

/** Teachers on this machine choose one label; the embedded one from the examples, whose answers are `given`. */
function classifierFaults(
  { task: { teacher }, output: { single } }: CompiledTask,
  given: ReadonlySet<string>,
): Fault[] {
  if (teacher.kind !== 'embedded' && teacher.kind !== 'onnx') return [];
  if (single === undefined) {
    const message = `expected another kind, because the ${teacher.kind} teacher can only choose one label (one required enum of strings), and output.schema asks for other things; take openai, anthropic or nats`;
    return [{ path: ['teacher', 'kind'], message }];
  }
  if (teacher.kind === 'onnx') return [];
  const bare = single.labels.filter((label) => !given.has(JSON.stringify({ [single.field]: label })));
  if (bare.length === 0) return [];
  const message = `expected at least one example of every label, because the embedded teacher learns from them; none of ${bare.join(', ')}; add some`;
  return [{ path: ['examples'], message }];
}

/** What a schema says about the rest of the task. */
function outputFaults({ input, prompt, output }: Task): Fault[] {
  const result = compileSchema(output.schema);
  if (!result.ok) throw new TypeError('an output schema with faults passed its check');
  const used = templateFields(prompt.template);
  const faults: Fault[] = result.compiled.copied.flatMap(({ path, from }) => {
    if (input.fields.includes(from) && used.includes(from)) return [];
    const fields = used.filter((field) => input.fields.includes(field)).join(', ');
    return [
      {
        path: ['output', 'schema', ...path],
        message: `expected an input field that the template shows (${fields}), got ${from}; correct it`,
      },
    ];
  });
  // The rest has been read keyword by keyword; what is left to the teacher has not.
  const unread = result.compiled.heads.some((head) => head.kind === 'choice' && head.values[0] === LEFT_TO_TEACHER);
  try {
    if (unread) answerValidator(output.schema);
  } catch (error) {
    const message = `expected a valid JSON Schema in what is left to the teacher, got ${String(error)}; correct it`;
    faults.push({ path: ['output', 'schema'], message });
  }
  return faults;
}

function moneyFaults(task: Task): Fault[] {
  const priced = 'pricing' in task.teacher && task.teacher.pricing !== undefined;
  if (!priced || task.budget.usd > 0) return [];
  return [
    {
      path: ['budget', 'usd'],
      message: 'expected more than 0, because the teacher has a price; nothing could be asked',
    },
  ];
}

function trainingFaults({ training: { families, encoder } }: Task): Fault[] {
  const at = (...rest: string[]): KeyPath => ['training', ...rest];
  const wanted = families === undefined || families.includes('encoder');
  if (families !== undefined && wanted && encoder === undefined) {
    return [
      { path: at('encoder'), message: 'expected a folder or hub, because training.families names encoder; add it' },
    ];
  }
  if (encoder === undefined) return [];
  if (!wanted) {
    return [{ path: at('encoder'), message: 'expected encoder in training.families, or no training.encoder; add it' }];
  }
  if (encoder.folder === undefined || isAbsolute(encoder.folder)) return [];
  return [{ path: at('encoder', 'folder'), message: relativePath(encoder.folder) }];
}

/** `examples[3].input.subject` */
function pathText(path: KeyPath): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`))
    .join('');
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length <= 120 ? text : `${text.slice(0, 120)}…`;
}
