/** The template of a workload's messages, recovered from the messages. */

const field = '{{text}}';
/** What all of so many distinct messages share is hardly chance. */
const minMessages = 20;

/** A template with the one field `text`: the fixed beginning and end that all messages share stand around it. */
export const templateOf = (messages: readonly string[]): string => {
  const [first, ...others] = messages;
  if (first === undefined || messages.length < minMessages) return field;
  let [prefix, suffix] = [first.length, first.length];
  let shortest = first.length;
  for (const message of others) {
    prefix = sharedStart(first, message, prefix);
    suffix = sharedEnd(first, message, suffix);
    shortest = Math.min(shortest, message.length);
  }
  const start = first.slice(0, prefix).replace(/[^\s\p{P}]*$/u, '');
  const end = first.slice(first.length - Math.min(suffix, shortest - start.length)).replace(/^[^\s\p{P}]*/u, '');
  // Double braces would be taken for fields.
  return (start + end).includes('{{') ? field : `${start}${field}${end}`;
};

const sharedStart = (a: string, b: string, atMost: number): number => {
  let length = 0;
  while (length < atMost && length < b.length && a[length] === b[length]) length += 1;
  return length;
};

const sharedEnd = (a: string, b: string, atMost: number): number => {
  let length = 0;
  while (length < atMost && length < b.length && a[a.length - 1 - length] === b[b.length - 1 - length]) length += 1;
  return length;
};
