import { answerParser, type ParsedAnswer } from './answer.ts';
import { canonicalJson, sha256Hex } from './canonical.ts';
import { type CanonicalInput, inputCanonicaliser } from './input.ts';
import type { OutputPlan } from './output/head.ts';
import { outputPlan } from './output/plan.ts';
import { shapingSchema } from './output/schema.ts';
import { type IdKey, promptIdOf } from './prompt-id.ts';
import type { Task, Teacher } from './schema.ts';
import { textRenderer } from './template.ts';

/** Who answered: the model that the server named, and its version or system fingerprint where it reports one. */
export interface TeacherModel {
  model: string;
  version?: string;
}

/** An input in every form that travels. */
export interface RenderedPrompt {
  promptId: string;
  /** Canonical text of the input (JSON). */
  inputJson: string;
  /** What the teacher is asked and the student reads. */
  text: string;
}

/** A task's functions, compiled once. All are pure and synchronous. */
export interface CompiledTask {
  readonly task: Task;
  /** SHA-256 (hex) of the task's canonical JSON. */
  readonly digest: string;
  readonly output: OutputPlan;
  /** Throws `InputError`. */
  canonicalInput(input: unknown): CanonicalInput;
  /** `promptIdOf` the canonical input, under the key that the task was compiled with. Throws `InputError`. */
  promptId(input: unknown): string;
  /** Throws `InputError` only where the task forbids cutting. */
  renderText(input: CanonicalInput): string;
  /** Id, canonical JSON and text in one pass. Throws `InputError`. */
  renderPrompt(input: unknown): RenderedPrompt;
  /** SHA-256 (hex) of everything that shapes an answer, the teacher as it reported itself included. */
  fingerprint(teacherModel: TeacherModel): string;
  /** Copied spans are looked for in `text`, the prompt's rendered text, where it is given. */
  parseAnswer(rawText: string, text?: string): ParsedAnswer;
}

const compiledTasks = new WeakMap<Task, { idKey: IdKey; compiled: CompiledTask }>();

/**
 * Compiles a validated task; the same task object gives the same result. Takes about a millisecond the first time.
 * @param idKey the platform's, wherever ids of prompts are made or compared
 */
export function compileTask(task: Task, idKey?: IdKey): CompiledTask {
  const known = compiledTasks.get(task);
  if (known !== undefined && known.idKey === idKey) return known.compiled;
  const compiled = build(task, idKey);
  compiledTasks.set(task, { idKey, compiled });
  return compiled;
}

/** A task as it is stored and sent: canonical JSON. `parseTask` of it gives an equal task. */
export function taskJson(task: Task): string {
  return canonicalJson(task);
}

/** SHA-256 (hex) of `taskJson`: equal tasks, however they were written, have equal digests. */
export function taskDigest(task: Task): string {
  return sha256Hex(taskJson(task));
}

/** Key of a pair: SHA-256 (hex) of prompt, fingerprint and sample number (0 for a single answer). */
export function pairId(promptId: string, fingerprint: string, sampleNumber: number): string {
  return sha256Hex(`${promptId}\n${fingerprint}\n${sampleNumber}`);
}

function build(task: Task, idKey: IdKey): CompiledTask {
  const canonicalInput = inputCanonicaliser(task.input.fields);
  const renderText = textRenderer(task.prompt);
  const idOf = (inputJson: string) => promptIdOf(task.name, inputJson, idKey);
  const output = outputPlan(task.output.schema);
  const asked = canonicalJson(whatShapesAnAnswer(task));
  const fingerprints = new Map<string, string>();

  return {
    task,
    digest: taskDigest(task),
    output,
    canonicalInput,
    renderText,
    promptId: (input) => idOf(JSON.stringify(canonicalInput(input))),
    renderPrompt: (input) => {
      const canonical = canonicalInput(input);
      const inputJson = JSON.stringify(canonical);
      return { promptId: idOf(inputJson), inputJson, text: renderText(canonical) };
    },
    fingerprint: ({ model, version }) => {
      const key = canonicalJson({ model, version });
      const known = fingerprints.get(key);
      if (known !== undefined) return known;
      const made = sha256Hex(`${asked}\n${key}`);
      fingerprints.set(key, made);
      return made;
    },
    parseAnswer: answerParser(task.output.schema, output),
  };
}

function whatShapesAnAnswer(task: Task): unknown {
  const { teacher } = task;
  return {
    prompt: task.prompt,
    examples: task.examples,
    schema: shapingSchema(task.output.schema),
    teacher: whatShapesItsAnswers(teacher),
  };
}

/** The part of a teacher's settings that shapes what it answers: not where it is, what it costs or how often it is asked. */
export function whatShapesItsAnswers(teacher: Teacher): unknown {
  const { kind, model, epoch } = teacher;
  return { kind, model, epoch, decoding: decodingParameters(teacher) };
}

function decodingParameters(teacher: Teacher): unknown {
  if (teacher.kind === 'onnx') return { labels: teacher.labels, hypothesis: teacher.hypothesis };
  if (teacher.kind === 'embedded') return {};
  const { samples } = teacher;
  if (teacher.kind === 'nats') return { samples };
  if (teacher.kind === 'anthropic') return { maxOutputTokens: teacher.maxOutputTokens, samples };
  const { temperature, maxOutputTokens, topLogprobs } = teacher;
  return { temperature, maxOutputTokens, topLogprobs, samples };
}
