/** Bundles as others open them: with transformers.js, and with Python's onnxruntime and tokenizers. No code of ours is in the way. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AutoModelForSequenceClassification, AutoTokenizer, env, pipeline } from '@huggingface/transformers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openArchive } from './archive.ts';
import { openBundle } from './bundle.ts';
import { argmax } from './examples.ts';
import type { Candidate, Family } from './family.ts';
import { StudentModel } from './student-model.ts';
import { LABELS, SMALL, smallStudent } from './testing.ts';
import { tinyEncoder } from './testing-encoder.ts';
import { pythonForBundles } from './testing-python.ts';

const TEXTS = [
  'my INVOICE is wrong',
  'Where is my delivery? It never came.',
  'I cannot sign in — reset my password, please',
  'Grüße 😀',
  'parcel '.repeat(100),
];
/** Runtimes differ in the order of sums. */
const TOLERANCE_DIGITS = 3;

const CANDIDATES: Readonly<Record<Exclude<Family, 'encoder'>, Candidate>> = {
  bag: { family: 'bag', hyperparameters: SMALL },
  conv: { family: 'conv', hyperparameters: { vocabulary: 400, width: 16, filters: 16, epochs: 2, maxTokens: 64 } },
  transformer: {
    family: 'transformer',
    hyperparameters: { vocabulary: 400, width: 16, feedForward: 32, layers: 1, heads: 2, epochs: 2, maxTokens: 64 },
  },
};

/** Scores of texts, in the order of the labels, from Python. */
const PYTHON = `
import json, sys
import numpy, onnxruntime, tokenizers
folder, texts = sys.argv[1], json.load(sys.stdin)
tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
config = json.load(open(folder + "/tokenizer_config.json"))
tokenizer.enable_truncation(config["model_max_length"])
session = onnxruntime.InferenceSession(folder + "/onnx/model.onnx", providers=["CPUExecutionProvider"])
logits = []
for text in texts:
    ids = numpy.array([tokenizer.encode(text).ids], dtype=numpy.int64).reshape(1, -1)
    logits.append(session.run(["logits"], {"input_ids": ids, "attention_mask": numpy.ones_like(ids)})[0][0].tolist())
print(json.dumps(logits))
`;

let home: string;
const folders = new Map<Family, { folder: string; expected: number[][] }>();
let python: Awaited<ReturnType<typeof pythonForBundles>>;

/** Unpacks a bundle into a folder, and asks our own code what its student says. */
async function unpacked(family: Family, candidate: Candidate): Promise<void> {
  const { archive, digest } = await smallStudent({ candidate });
  const folder = join(home, family);
  for (const [name, bytes] of await openArchive(archive)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
  const student = await StudentModel.load(await openBundle(archive, digest), { threads: 1 });
  const expected = (await student.predict(TEXTS)).map(({ logits }) => Array.from(logits.topic ?? []));
  await student.release();
  folders.set(family, { folder, expected });
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'understudy-others-'));
  Object.assign(env, { localModelPath: home, allowRemoteModels: false });
  for (const candidate of Object.values(CANDIDATES)) await unpacked(candidate.family, candidate);
  await using encoder = await tinyEncoder();
  await unpacked('encoder', {
    family: 'encoder',
    hyperparameters: { epochs: 1, batchTexts: 16 },
    encoder: { folder: encoder.folder, train: 'all' },
  });
  python = await pythonForBundles();
});
afterAll(() => rm(home, { recursive: true, force: true }));

const expectSame = (logits: readonly (readonly number[])[], expected: readonly (readonly number[])[]): void => {
  expect(logits).toHaveLength(expected.length);
  for (const [i, row] of expected.entries()) {
    for (const [label, logit] of row.entries()) {
      expect(logits[i]?.[label], `${TEXTS[i]?.slice(0, 20)}, label ${label}`).toBeCloseTo(logit, TOLERANCE_DIGITS);
    }
  }
};

describe.each(['bag', 'conv', 'transformer', 'encoder'] as const)('a %s bundle', (family) => {
  it('gives transformers.js the same logits, and its text-classification the same labels', async () => {
    const { folder, expected: all } = folders.get(family)!;
    // transformers.js 4.3 cuts the closing token off with the end of a long text; Python's tokenizers and we keep it.
    const texts = family === 'encoder' ? TEXTS.slice(0, -1) : TEXTS;
    const expected = all.slice(0, texts.length);
    const name = basename(folder);
    const tokenizer = await AutoTokenizer.from_pretrained(name);
    const model = await AutoModelForSequenceClassification.from_pretrained(name, { dtype: 'fp32' });
    const { logits } = await model(tokenizer(texts, { padding: true, truncation: true }));
    expectSame(logits.tolist(), expected);
    await model.dispose();

    const classify = await pipeline('text-classification', name, { dtype: 'fp32' });
    const answers = (await classify(texts)) as { label: string }[];
    expect(answers.map(({ label }) => label)).toEqual(expected.map((row) => LABELS[argmax(row)]));
    await classify.dispose();
  });

  it('gives onnxruntime and tokenizers in Python the same logits', async (context) => {
    if ('missing' in python) {
      process.stderr.write(`${python.missing}\n`);
      return context.skip(python.missing);
    }
    const { folder, expected } = folders.get(family)!;
    const running = promisify(execFile)(python.python, ['-c', PYTHON, folder]);
    running.child.stdin?.end(JSON.stringify(TEXTS));
    expectSame(JSON.parse((await running).stdout), expected);
  });
});
