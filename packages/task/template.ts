import { InputError } from './errors.ts';
import type { CanonicalInput } from './input.ts';

const PLACEHOLDER = /\{\{\s*([A-Za-z][A-Za-z0-9_]*)\s*\}\}/g;

/** Names of the fields a template reads, in order, repeated ones once. */
export function templateFields(template: string): string[] {
  return [...new Set([...template.matchAll(PLACEHOLDER)].map((match) => match[1] ?? ''))];
}

/**
 * A renderer of `{{field}}` templates. The text is cut at `maxCharacters` code points, or, where `truncate` is false,
 * a longer one throws `InputError` (`too-large`). Field values are inserted as they are; placeholders inside them stay text.
 */
export function textRenderer(prompt: {
  template: string;
  maxCharacters: number;
  truncate: boolean;
}): (input: CanonicalInput) => string {
  const { template, maxCharacters, truncate } = prompt;
  // split with one capture group alternates literal text and field names.
  const parts = template.split(PLACEHOLDER);
  return (input) => {
    let text = '';
    for (let i = 0; i < parts.length; i++) text += i % 2 === 0 ? parts[i] : (input[parts[i] ?? ''] ?? '');
    const end = codePointOffset(text, maxCharacters);
    if (end === text.length) return text;
    if (truncate) return text.slice(0, end);
    throw new InputError(
      'too-large',
      `rendered text is over prompt.maxCharacters (${maxCharacters}) and prompt.truncate is false; shorten the input or raise the limit`,
    );
  };
}

/** UTF-16 offset just after the first `count` code points of a well-formed text (its length if it has no more). */
function codePointOffset(text: string, count: number): number {
  if (text.length <= count) return text.length;
  let offset = 0;
  for (let seen = 0; seen < count && offset < text.length; seen++) {
    const unit = text.charCodeAt(offset);
    offset += unit >= 0xd800 && unit <= 0xdbff ? 2 : 1;
  }
  return offset;
}
