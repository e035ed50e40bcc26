import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadTask, parseTask, TaskError, taskJson } from './index.ts';

const good = `
name: triage
input: { fields: [subject, text] }
prompt:
  instructions: Sort mail.
  template: "{{subject}}\\n{{text}}"
  maxCharacters: 200
output:
  schema: { type: object, properties: { label: { enum: [ham, spam] } }, required: [label], additionalProperties: false }
examples: examples.jsonl
teacher: { kind: embedded, model: universal-sentence-encoder-lite }
sources:
  - { kind: jsonl, path: data/mail.jsonl, reference: { field: folder, map: { "0": ham } } }
budget: { calls: 10, usd: 0 }
goal: { agreement: 0.9 }
`;
const example = (text: string, label: string) =>
  `${JSON.stringify({ input: { subject: '', text }, output: { label } })}\n`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'task-'));
  await writeFile(join(folder, 'examples.jsonl'), `${example('a', 'ham')}\n${example('b', 'spam')}`);
});
afterAll(() => rm(folder, { recursive: true }));

async function load(yaml: string) {
  const file = join(folder, 'task.yaml');
  await writeFile(file, yaml);
  return loadTask(file);
}

/** The issues that a changed task file raises. */
async function issuesOf(from: string | RegExp, to: string): Promise<string> {
  const changed = good.replace(from, to);
  expect(changed).not.toBe(good);
  const error = await load(changed).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(TaskError);
  return (error as TaskError).message.replaceAll(folder, '.');
}

describe('loadTask', () => {
  test('fills defaults, takes examples in and makes paths absolute, so that the task travels as JSON', async () => {
    const task = await load(good);
    expect(task.examples.map((each) => each.output.label)).toEqual(['ham', 'spam']);
    expect(task.sources[0]).toMatchObject({ name: 'data/mail.jsonl', path: join(folder, 'data/mail.jsonl') });
    expect(task.goal).toEqual({
      ...{ agreement: 0.9, coverage: 0.8, confidence: 0.95, nonInferiorityMargin: 0.01, ceilingSample: 0 },
      ...{ latencyMs: 20, sizeBytes: 5_000_000 },
    });
    expect(parseTask(taskJson(task))).toEqual(task);
  });

  test.each([
    [/calls: 10/, 'cals: 10', './task.yaml:14: budget.cals: unknown key cals; expected one of calls, usd; remove it'],
    [/calls: 10/, 'cals: 10', './task.yaml:14: budget.calls: expected a number, got nothing; add it'],
    [/name: triage/, 'name: Triage', './task.yaml:2: name: expected 1 to 48 of a-z, 0-9 and -'],
    [/name: triage/, 'nom: x\nname: triage', './task.yaml:2: nom: unknown key nom; expected one of name, description'],
    [
      /\{\{text\}\}/,
      '{{body}}',
      './task.yaml:6: prompt.template: expected fields of the input (subject, text), got body',
    ],
    [/agreement: 0.9/, 'agreement: 1.9', './task.yaml:15: goal.agreement: expected at most 1, got 1.9'],
    [/maxCharacters: 200/, 'maxCharacters: "200"', './task.yaml:7: prompt.maxCharacters: expected a number, got 200'],
    [/kind: jsonl/, 'kind: xml', './task.yaml:13: sources[0].kind: expected kind: jsonl, csv, parquet, lines, folder'],
    [/kind: jsonl, path: data\/mail.jsonl, reference.*\} \}/, 'kind: lines, path: x }', 'each record is one text'],
    [
      /"0": ham/,
      '"0": eggs',
      './task.yaml:13: sources[0].reference.map.0: expected one of the labels ham, spam, got eggs',
    ],
    [/\[ham, spam\]/, '[ham, ham]', './task.yaml:9: output.schema.properties.label.enum[1]: expected distinct labels'],
    [
      /enum: \[ham, spam\]/,
      'type: number',
      'output.schema.properties.label: expected a number with minimum and maximum, got no minimum',
    ],
    [
      /label: \{ enum/,
      'why: { enum: [a, b] }, label: { enum',
      './task.yaml:11: teacher.kind: expected another kind, because the embedded teacher can only choose one label',
    ],
    [
      /required: \[label\]/,
      'required: [name]',
      'output.schema.required[0]: expected one of the properties (label), got "name"',
    ],
    [
      /label: \{ enum: \[ham, spam\] \}/,
      'label: { type: string }',
      './task.yaml:9: output.schema.properties.label: free text cannot be distilled',
    ],
    [
      /properties: \{/,
      'properties: { who: { type: string, x-copied-from: body },',
      'output.schema.properties.who.x-copied-from: expected an input field that the template shows (subject, text), got body',
    ],
    [
      /properties: \{/,
      'properties: { who: { type: [string, "null"], pattern: "(", x-left-to: teacher },',
      'output.schema: expected a valid JSON Schema in what is left to the teacher',
    ],
    [/, additionalProperties: false/, '', 'output.schema.additionalProperties: expected false'],
    [/type: object, /, 'type: object, oneOf: [], ', 'output.schema.oneOf: unsupported JSON Schema keyword oneOf'],
    [/name: triage/, 'name: triage\nname: again', './task.yaml:3: not valid YAML: Map keys must be unique'],
    [/name: triage/, 'name: [', 'not valid YAML'],
    [/name: triage/, 'name: triage\nsplits: &s { dev: *s }', './task.yaml: expected aliases (*name) that stand for'],
    [
      /name: triage/,
      `name: triage\na: &a [x]\nb: &b [${Array(20).fill('*a')}]\nc: [${Array(20).fill('*b')}]`,
      './task.yaml: expected aliases (*name) that stand for small values',
    ],
    [/examples.jsonl/, 'gone.jsonl', './gone.jsonl: expected a readable examples file in UTF-8: Error: ENOENT'],
    [/goal:/, 'splits: { dev: 0.4, test: 0.4 }\ngoal:', 'splits: expected dev and test together at most 0.5, got 0.8'],
    [
      /goal:/,
      'training: { families: [] }\ngoal:',
      './task.yaml:15: training.families: expected at least 1 items, got []',
    ],
    [
      /goal:/,
      'training: { families: [bag, forest] }\ngoal:',
      './task.yaml:15: training.families[1]: expected one of bag, conv, transformer, encoder, got forest',
    ],
    [/goal:/, 'training: { families: [bag, bag] }\ngoal:', 'training.families: expected distinct families'],
    [/goal:/, 'training: { families: [encoder] }\ngoal:', 'training.encoder: expected a folder or hub, because'],
    [
      /goal:/,
      'training: { encoder: { train: all } }\ngoal:',
      './task.yaml:15: training.encoder: expected either folder or hub',
    ],
    [
      /teacher:.*/,
      'teacher: { kind: onnx, model: m, folder: nowhere }',
      'teacher.folder: expected a folder in Hugging Face layout, but ./nowhere has no readable config.json',
    ],
    [
      /teacher:.*/,
      'teacher: { kind: onnx, model: m, folder: x, hypothesis: It is so. }',
      'teacher.hypothesis: expected a sentence with {label} in it',
    ],
    [
      /teacher:.*/,
      'teacher: { kind: openai, model: m, baseUrl: "https://x.example/v1", samples: 4 }',
      'teacher.samples: expected a temperature above 0',
    ],
    [
      /teacher:.*/,
      'teacher: { kind: anthropic, model: m, apiKeyEnv: A, apiKeyFile: b }',
      'teacher.apiKeyFile: expected apiKeyEnv or apiKeyFile, got both',
    ],
    [
      /goal:/,
      'training: { encoder: { hub: a/b@main } }\ngoal:',
      'training.encoder.hub: expected owner/name@commit with all 40 digits',
    ],
    [
      /goal:/,
      `training: { encoder: { hub: ../b@${'a'.repeat(40)} } }\ngoal:`,
      'training.encoder.hub: expected owner/name',
    ],
    [
      /goal:/,
      'training: { families: [bag], encoder: { folder: x } }\ngoal:',
      './task.yaml:15: training.encoder: expected encoder in training.families',
    ],
    [
      /goal:/,
      'training: { encoder: { folder: nowhere } }\ngoal:',
      './task.yaml:15: training.encoder.folder: expected a folder in Hugging Face layout, but ./nowhere has no readable config.json',
    ],
  ])('%s → %s is refused with its place and a way out', async (from, to, expected) => {
    expect(await issuesOf(from, to)).toContain(expected);
  });

  test('finds a published encoder beside the file', async () => {
    await mkdir(join(folder, 'minilm/onnx'), { recursive: true });
    for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx']) {
      await writeFile(join(folder, 'minilm', file), '{}');
    }
    const task = await load(good.replace('goal:', 'training: { encoder: { folder: minilm } }\ngoal:'));
    expect(task.training.encoder).toEqual({ folder: join(folder, 'minilm'), train: 'all' });
  });

  test('never repeats a secret that was written into the file', async () => {
    const teacher = /teacher: .*/;
    const keyed = await issuesOf(
      teacher,
      'teacher: { kind: openai, baseUrl: "http://h/v1", model: m, apiKey: s3cr3t }',
    );
    expect(keyed).toContain('name it with apiKeyEnv or apiKeyFile');
    const inUrl = await issuesOf(teacher, 'teacher: { kind: openai, baseUrl: "http://u:s3cr3t@h/v1", model: m }');
    expect(inUrl).toContain('expected a URL without user or password');
    expect(keyed + inUrl).not.toContain('s3cr3t');
  });

  test.each([
    ['{"input":', 'examples.jsonl:1: examples: expected one JSON object a line'],
    [example('a', 'eggs'), 'examples.jsonl:1: examples[0].output: expected label to be one of ham, spam'],
    [`\n${example('a', 'ham')}${example(' a ', 'spam')}`, 'examples.jsonl:3: examples[1]: same input as examples[0]'],
    [example('a', 'ham'), 'examples: expected at least one example of every label'],
    [
      '{"input":{"subject":"x"},"output":{"label":"ham"}}',
      'examples.jsonl:1: examples[0].input: field text is missing',
    ],
    ['\n', 'examples.jsonl: examples: expected at least one example, got an empty file'],
  ])('a fault in the examples %j names its line', async (content, expected) => {
    const file = join(folder, 'bad-examples.jsonl');
    await writeFile(file, content);
    const message = await issuesOf('examples.jsonl', 'bad-examples.jsonl');
    expect(message.replaceAll('bad-', '')).toContain(expected);
  });

  test('refuses bytes that are no UTF-8', async () => {
    const file = join(folder, 'latin1.yaml');
    await writeFile(file, Buffer.from('name: caf\xe9', 'latin1'));
    await expect(loadTask(file)).rejects.toThrow(/latin1.yaml: expected a readable task file in UTF-8/);
  });
});

describe('parseTask', () => {
  test('refuses what is not JSON, relative paths and a priced teacher without money', async () => {
    const task = await load(good);
    expect(() => parseTask('{')).toThrow(/task: expected a task as JSON/);
    const relative = { ...task, sources: [{ kind: 'jsonl', path: 'mail.jsonl' }] };
    expect(() => parseTask(JSON.stringify(relative))).toThrow(/sources\[0\].path: expected an absolute path/);
    const elsewhere = { ...task, training: { ...task.training, encoder: { folder: 'minilm' } } };
    expect(() => parseTask(JSON.stringify(elsewhere))).toThrow(/training.encoder.folder: expected an absolute path/);
    const priced = {
      ...task,
      teacher: {
        kind: 'nats',
        subject: 'models.a',
        model: 'a',
        pricing: { inputUsdPerMillionTokens: 1, outputUsdPerMillionTokens: 1 },
      },
    };
    expect(() => parseTask(JSON.stringify(priced))).toThrow(/budget.usd: expected more than 0/);
  });
});
