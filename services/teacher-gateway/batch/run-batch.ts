import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BatchReport } from '@understudy/cli/batch-report';
import { BatchError, Book } from './book.ts';
import type { BatchContext } from './context.ts';
import { fileOf, plan } from './plan.ts';
import { submit } from './submit.ts';

/** Plans a batch, and writes or submits it where that is asked for. */
export const runBatch = async (context: BatchContext, note: (line: string) => void): Promise<BatchReport> => {
  const { request } = context;
  if (request.submit) await mkdir(dirname(request.book), { recursive: true, mode: 0o700 });
  // What is not submitted is not remembered.
  using book = new Book(request.submit ? request.book : ':memory:');
  await plan(context, book);
  const files = request.out === undefined ? [] : await writeFiles(context, book, request.out);
  if (request.submit) await submit(context, book, note);
  const { strays, inputTokens, outputTokens, spentUsd } = book.totals();
  return {
    prompts: book.get('planned') ?? 0,
    known: book.get('known') ?? 0,
    boundUsd: book.get('boundUsd') ?? 0,
    files,
    parts: book.parts().map(({ prompts, batchId, status }) => ({ prompts, batchId, status })),
    outcomes: book.outcomes(),
    ...{ strays, inputTokens, outputTokens, spentUsd },
  };
};

/** One file, or several numbered ones; what is there already is left as it is. */
const writeFiles = async (context: BatchContext, book: Book, out: string): Promise<string[]> => {
  const parts = book.parts();
  const files: string[] = [];
  for (const { number } of parts) {
    const path = parts.length === 1 ? out : out.replace(/(\.[^./]*)?$/, `-${number}$1`);
    try {
      await writeFile(path, fileOf(context, book, number), { flag: 'wx', mode: 0o600 });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
      throw new BatchError(`${path} is there already: give another --out, or remove it`, { cause });
    }
    files.push(path);
  }
  return files;
};
