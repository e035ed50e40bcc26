/** Erases inputs from the books of a task's batches: `understudy forget` starts it, and sends what is meant by IPC. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ErasedBooks } from '@understudy/cli/forget/erase-books';
import { messageOf } from '@understudy/service/errors';
import { Book } from './book.ts';

interface Meant {
  folder: string;
  task: string;
  ids: readonly string[];
}

/** @throws BatchError while a batch is at work on one of the books */
const eraseFromBooks = ({ folder, task, ids }: Meant): ErasedBooks => {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  const erased: ErasedBooks = { prompts: 0, remains: [] };
  for (const name of names.filter((each) => each.startsWith(`${task}-`) && each.endsWith('.sqlite'))) {
    using book = new Book(join(folder, name));
    const { prompts, fileIds } = book.erase(ids);
    erased.prompts += prompts;
    for (const id of fileIds) erased.remains.push(`file ${id} at the provider of ${task} holds it: delete it there`);
  }
  return erased;
};

process.once('message', (meant: Meant) => {
  try {
    process.send?.(eraseFromBooks(meant));
  } catch (error) {
    process.send?.({ failed: messageOf(error) });
  } finally {
    process.disconnect?.();
  }
});
