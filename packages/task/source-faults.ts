import { isAbsolute } from 'node:path';
import { grammarFaults } from './grammar.ts';
import { MIN_RELEVANCE_EXAMPLES } from './limits.ts';
import type { Source, Task } from './schema.ts';

/** What is wrong with a part of a task, and where. */
export interface Fault {
  path: readonly PropertyKey[];
  message: string;
}

/** Teachers that write texts of their own; the others only choose among labels. */
const WRITING_TEACHERS: ReadonlySet<string> = new Set(['openai', 'anthropic', 'nats']);

/** What is wrong with a task's sources. `labels`: those of the output's one enum field; undefined where it is not just that. */
export function sourceFaults(task: Task, labels: readonly string[] | undefined): Fault[] {
  const faults = task.sources.flatMap((source, index) =>
    faultsOf(task, source, labels).map(({ path, message }) => ({ path: ['sources', index, ...path], message })),
  );
  if (task.sources.length > 0 && task.sources.every(isNoSample)) {
    faults.push({
      path: ['sources'],
      message:
        'expected at least one source that is a sample of real inputs, because only those may judge a student; all of these only train: add one, or say population: true where it is true',
    });
  }
  return faults;
}

/** True for inputs that are no random sample of the task's population: they train and never judge. */
export function isNoSample(source: Source): boolean {
  if (source.kind === 'written') return true;
  return (source.kind === 'grammar' || source.kind === 'log') && !source.population;
}

function faultsOf(task: Task, source: Source, labels: readonly string[] | undefined): Fault[] {
  switch (source.kind) {
    case 'grammar':
      return grammarFaults(source, task.input.fields);
    case 'written':
      return writtenFaults(task);
    default:
      return [...recordFaults(task, source), ...referenceFaults(source, labels), ...relevanceFaults(task, source)];
  }
}

function recordFaults({ input: { fields } }: Task, source: Exclude<Source, { kind: 'grammar' | 'written' }>): Fault[] {
  const faults: Fault[] = [];
  if (source.kind === 'folder' && source.path.startsWith('s3://')) {
    faults.push({
      path: ['path'],
      message: 'expected a folder of this machine, got one in S3; use jsonl, csv, lines or parquet',
    });
  } else if (!isAbsolute(source.path) && !source.path.startsWith('s3://')) {
    faults.push({ path: ['path'], message: relativePath(source.path) });
  }
  const wholeText = source.kind === 'lines' || (source.kind === 'folder' && source.format === 'text');
  if (wholeText && fields.length !== 1) {
    const message = `expected a task with one input field, because each record is one text; it has ${fields.join(', ')}; use jsonl or csv`;
    faults.push({ path: ['kind'], message });
  }
  for (const field of Object.keys('fields' in source ? (source.fields ?? {}) : {})) {
    if (fields.includes(field)) continue;
    const message = `expected a field of the input (${fields.join(', ')}), got ${field}; correct it`;
    faults.push({ path: ['fields', field], message });
  }
  return faults;
}

function referenceFaults(source: Source, labels: readonly string[] | undefined): Fault[] {
  const map = 'reference' in source ? (source.reference?.map ?? {}) : {};
  const expected = labels
    ? `one of the labels ${excerpt(labels.join(', '))}`
    : 'no map, because the output is not one label: references are whole answers';
  return Object.entries(map)
    .filter(([, label]) => !labels?.includes(label))
    .map(([from, label]) => ({
      path: ['reference', 'map', from],
      message: `expected ${expected}, got ${label}; correct it`,
    }));
}

function writtenFaults({ teacher, examples }: Task): Fault[] {
  if (!WRITING_TEACHERS.has(teacher.kind)) {
    const message = `expected a teacher that writes (${[...WRITING_TEACHERS].join(', ')}), because inputs are to be written; a teacher of the kind ${teacher.kind} only answers: use another one, or leave this source out`;
    return [{ path: ['kind'], message }];
  }
  if (examples.length > 0) return [];
  return [{ path: ['kind'], message: 'expected examples in the task, which show the teacher what to write; add some' }];
}

function relevanceFaults({ examples }: Task, source: Source): Fault[] {
  if (!('relevantOnly' in source) || !source.relevantOnly || examples.length >= MIN_RELEVANCE_EXAMPLES) return [];
  return [
    {
      path: ['relevantOnly'],
      message: `expected at least ${MIN_RELEVANCE_EXAMPLES} examples in the task to tell what belongs to it, got ${examples.length}; add some, or drop relevantOnly`,
    },
  ];
}

export const relativePath = (given: string): string =>
  `expected an absolute path, got ${given}; only a task file may have paths relative to itself`;

const excerpt = (text: string): string => (text.length <= 100 ? text : `${text.slice(0, 100)}…`);
