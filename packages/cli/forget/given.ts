/** Which inputs a person means: by id, by what they hold, or by their source. */
import { readFileSync } from 'node:fs';
import { type CompiledTask, InputError } from '@understudy/task';
import { ExitError, exitCodes } from '../errors.ts';

export interface ForgetOptions {
  id?: string;
  input?: string;
  source?: string;
}

/** Ids of what is meant; none where a source is. @throws ExitError that never tells the text */
export const givenIds = (versions: readonly CompiledTask[], { id, input, source }: ForgetOptions): string[] => {
  const given = [id, input, source].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw bad('expected --input FILE (- for standard input), --id ID or --source NAME: one of them');
  }
  if (id !== undefined) {
    if (!/^[0-9a-f]{64}$/.test(id)) throw bad(`--id: expected 64 hex digits, got ${id.length} characters`);
    return [id];
  }
  if (input === undefined) return [];
  // Editors put a byte order mark before a text, and JSON knows none.
  const text = readFileSync(input === '-' ? 0 : input, 'utf8').replace(/^\uFEFF/, '');
  const ids = new Set(versions.flatMap((version) => idUnder(version, text)));
  if (ids.size > 0) return [...ids];
  const fields = [...new Set(versions.map(({ task }) => task.input.fields.join(', ')))].join('; or ');
  throw bad(`--input: what it holds is no input of the task: expected a JSON object with the fields ${fields}`);
};

/** The id of a text that is an input as JSON or, for a task with one field, the field itself. */
const idUnder = ({ task, promptId }: CompiledTask, text: string): string[] => {
  const [only, ...others] = task.input.fields;
  const candidates = [jsonOf(text), ...(only !== undefined && others.length === 0 ? [{ [only]: text }] : [])];
  for (const candidate of candidates) {
    try {
      return [promptId(candidate)];
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
    }
  }
  return [];
};

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

const bad = (message: string) => new ExitError(exitCodes.badInput, message);
