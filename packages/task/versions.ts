import { type CompiledTask, compileTask } from './compile.ts';
import { InputError } from './errors.ts';
import { promptFrom } from './log.ts';
import type { IdKey } from './prompt-id.ts';
import { parseTask } from './validate.ts';

/** As much of a blob store as versions of tasks are found with. */
interface TaskBlobs {
  list(kind: string, prefix: string): AsyncIterable<string>;
  get(kind: string, digest: string): Promise<Uint8Array>;
}

/** Every version of a task that was ever applied, of all that the blob store holds. */
export async function versionsOf(blobs: TaskBlobs, name: string, idKey: IdKey): Promise<CompiledTask[]> {
  const versions: CompiledTask[] = [];
  for await (const digest of blobs.list('tasks', '')) {
    const json = new TextDecoder().decode(await blobs.get('tasks', digest));
    // Most are other tasks': their text alone says so, before a millisecond goes into compiling.
    if (!json.includes(JSON.stringify(name))) continue;
    const task = parseTask(json, `task ${digest}`);
    if (task.name === name) versions.push(compileTask(task, idKey));
  }
  return versions;
}

/** Knows inputs by their ids, in whatever form they come, under any version of their task. */
export class InputMatcher {
  readonly #versions: readonly CompiledTask[];
  readonly #promptIds: ReadonlySet<string>;

  constructor(versions: readonly CompiledTask[], promptIds: ReadonlySet<string>) {
    this.#versions = versions;
    this.#promptIds = promptIds;
  }

  isMeant(promptId: string): boolean {
    return this.#promptIds.has(promptId);
  }

  /** An input as an object, or as its JSON. */
  isInput(input: unknown): boolean {
    const value = typeof input === 'string' ? jsonOf(input) : input;
    return this.#versions.some(({ promptId }) => {
      try {
        return this.#promptIds.has(promptId(value));
      } catch (error) {
        if (error instanceof InputError) return false;
        throw error;
      }
    });
  }

  /** The user message of a call to a model: the input as the task's template renders it, or as JSON. */
  isMessage(message: string): boolean {
    return this.#versions.some((version) => {
      const prompt = promptFrom(version, message);
      return prompt !== undefined && this.#promptIds.has(prompt.promptId);
    });
  }

  /** Inputs anywhere within a JSON value, or within the JSON that a text is. */
  isWithin(value: unknown): boolean {
    if (typeof value === 'string') {
      const inner = jsonOf(value);
      return inner !== undefined && typeof inner !== 'string' && this.isWithin(inner);
    }
    if (value === null || typeof value !== 'object') return false;
    return this.isInput(value) || Object.values(value).some((part) => this.isWithin(part));
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
