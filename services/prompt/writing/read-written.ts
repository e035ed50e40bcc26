/** What a teacher wrote, as inputs: whole objects are taken wherever they stand, also out of an answer that was cut off. */

/** How deep the objects of an answer may nest before it counts as noise. */
const MAX_DEPTH = 16;

/**
 * Objects that have at least one of the fields, each with exactly the fields of the task; for a task with one field also the
 * strings of a list. Empty where nothing can be understood.
 */
export function readWritten(content: string, fields: readonly string[]): Record<string, string>[] {
  const whole = parsed(unfenced(content));
  if (whole !== undefined) return inputsIn(whole, fields, 0);
  return objectsIn(content).flatMap((text) => {
    const value = parsed(text);
    return value === undefined ? [] : inputsIn(value, fields, 0);
  });
}

function inputsIn(value: unknown, fields: readonly string[], depth: number): Record<string, string>[] {
  if (depth > MAX_DEPTH || value === null || typeof value !== 'object') return [];
  if (Array.isArray(value)) {
    const [only] = fields;
    return value.flatMap((item) => {
      if (typeof item === 'string' && fields.length === 1 && only !== undefined) return [{ [only]: item }];
      return inputsIn(item, fields, depth + 1);
    });
  }
  const object = value as Record<string, unknown>;
  if (fields.every((field) => typeof object[field] === 'string')) {
    return [Object.fromEntries(fields.map((field) => [field, object[field] as string]))];
  }
  return Object.values(object).flatMap((item) => inputsIn(item, fields, depth + 1));
}

function unfenced(content: string): string {
  return /```(?:json)?\s*([\s\S]*?)```/i.exec(content)?.[1] ?? content;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The innermost `{…}` of a text, braces within strings left alone. */
function objectsIn(text: string): string[] {
  return text.match(/\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\}/g) ?? [];
}
