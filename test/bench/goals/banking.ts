/** Labelled texts, split anew by each seed, and a bag trained on them: what its student says of texts it has not seen. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { labelHead, openBundle, StudentModel, trainStudent } from '@understudy/student';
import { seededOrder } from '@understudy/student/random';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';

export const FIELD = 'category';
/** Of 13,083 texts; the fresh ones are what is left. Dev and test have the platform's default shares of 10,000 pairs. */
export const SIZES = { train: 7_000, dev: 1_000, test: 2_000 };

const Rows = z.array(z.object({ text: z.string(), category: z.string() })).min(12_000);

export interface Texts {
  readonly labels: readonly string[];
  readonly texts: readonly string[];
  /** Index of each text's label: the teacher's answer. */
  readonly given: readonly number[];
}

/** The rows of train.csv and test.csv together. */
export function readTexts(folder: string): Texts {
  const rows = ['train.csv', 'test.csv'].flatMap((name) =>
    Rows.element.array().parse(parse(readFileSync(join(folder, name)), { columns: true })),
  );
  const labels = [...new Set(Rows.parse(rows).map(({ category }) => category))].sort();
  return { labels, texts: rows.map(({ text }) => text), given: rows.map(({ category }) => labels.indexOf(category)) };
}

export type Part = keyof typeof SIZES | 'fresh';
export type Split = Readonly<Record<Part, readonly number[]>>;

/** Indices of the texts of each part. */
export function splitOf({ texts }: Texts, seed: number): Split {
  const order = [...seededOrder(seed, 'split of bench goals', texts.length)];
  const take = (count: number) => order.splice(0, count);
  return { train: take(SIZES.train), dev: take(SIZES.dev), test: take(SIZES.test), fresh: order };
}

export type Logits = (index: number) => Float32Array;

/**
 * Logits of the dev, test and fresh texts by a bag trained on train.
 * @param kept folder in which they are looked for first, and kept; nothing is kept where undefined
 */
export async function logitsOf(all: Texts, split: Split, seed: number, kept: string | undefined): Promise<Logits> {
  const indices = [...split.dev, ...split.test, ...split.fresh];
  const width = all.labels.length;
  const file = kept && join(kept, `seed-${seed}.f32`);
  const values = file && existsSync(file) ? valuesOf(readFileSync(file)) : await train(all, split, seed, indices);
  if (values.length !== indices.length * width) {
    throw new Error(`${file}: expected ${indices.length} × ${width} numbers, got ${values.length}; remove it`);
  }
  if (kept && file && !existsSync(file)) {
    mkdirSync(kept, { recursive: true });
    writeFileSync(file, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  const places = new Map(indices.map((index, place) => [index, place]));
  return (index) => values.subarray(places.get(index)! * width, (places.get(index)! + 1) * width);
}

const valuesOf = (bytes: Uint8Array): Float32Array => new Float32Array(new Uint8Array(bytes).buffer);

async function train(all: Texts, split: Split, seed: number, asked: readonly number[]): Promise<Float32Array> {
  const { labels, texts, given } = all;
  const examples = (part: readonly number[]) =>
    part.map((index) => ({
      text: texts[index]!,
      target: [{ value: { kind: 'choice' as const, index: given[index]! } }],
      weight: 1,
    }));
  const { archive, digest } = await trainStudent({
    candidate: { family: 'bag' },
    heads: [labelHead(FIELD, labels)],
    train: examples(split.train),
    dev: examples(split.dev),
    seed,
    threads: availableParallelism(),
    lineage: {
      task: { name: 'bench', digest: '0'.repeat(64) },
      snapshotDigest: '0'.repeat(64),
      fingerprint: 'labels of a file',
    },
  });
  const model = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
  try {
    const predictions = await model.predict(asked.map((index) => texts[index]!));
    return Float32Array.from(predictions.flatMap((prediction) => [...prediction.logits[FIELD]!]));
  } finally {
    await model.release();
  }
}
