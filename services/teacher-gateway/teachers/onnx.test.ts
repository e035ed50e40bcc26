import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openBundle, StudentModel } from '@understudy/student';
import { openArchive } from '@understudy/student/archive';
import { LABELS as STUDENT_LABELS, smallStudent } from '@understudy/student/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOnnxTeacher } from './onnx.ts';
import { readClassifier } from './onnx-folder.ts';
import { readingOf } from './onnx-reading.ts';
import { SUBJECTS, type TinyModel, tinyModel } from './onnx-testing.ts';
import type { TeacherTask } from './teacher.ts';

const taskOf = (labels: string[]): TeacherTask => ({
  name: 'subjects',
  instructions: 'What is it about?',
  schema: { type: 'object' },
  heads: [{ kind: 'choice', name: 'about', values: labels.map((label) => JSON.stringify(label)) }],
  single: { field: 'about', labels },
  examples: [],
});
const limits = { rate: { concurrency: 16 }, timeoutMs: 60_000, maxRetries: 0, epoch: 0 };
const never = new AbortController().signal;

let classifier: TinyModel;
let inference: TinyModel;
beforeAll(async () => {
  [classifier, inference] = await Promise.all([tinyModel('classifier'), tinyModel('inference')]);
});
afterAll(async () => {
  await classifier[Symbol.asyncDispose]();
  await inference[Symbol.asyncDispose]();
});

const open = (labels: string[], more: object = {}, { folder }: { folder: string } = classifier) =>
  createOnnxTeacher(taskOf(labels), { kind: 'onnx', model: 'tiny', folder, labels: {}, ...limits, ...more });

describe('a classifier', () => {
  test('gives the probability of each label, in the order of the task', async () => {
    await using teacher = await open(['music', 'weather', 'food']);
    const { content, soft, usage, version } = await teacher.answer({ text: 'Rain, rain and a song' }, never);
    expect(content).toBe('{"about":"weather"}');
    // Logits: weather 4, music 2, food 0.
    const odds = [Math.exp(2), Math.exp(4), 1];
    const sum = odds.reduce((a, b) => a + b);
    expect(soft!.about!.map((each) => each * sum)).toEqual(odds.map((each) => expect.closeTo(each, 4)));
    expect(usage).toMatchObject({ inputTokens: 8, outputTokens: 0, spentUsd: 0 });
    expect(version).toMatch(/^sha256:[0-9a-f]{16}$/);
  });

  test('of other labels is mapped, several of them to one', async () => {
    await using teacher = await open(['indoors', 'outdoors'], {
      labels: { weather: 'outdoors', food: 'indoors', music: 'indoors' },
    });
    const { content, soft } = await teacher.answer({ text: 'soup' }, never);
    expect(content).toBe('{"about":"indoors"}');
    expect(soft!.about![0]).toBeCloseTo((Math.exp(2) + 1) / (Math.exp(2) + 2), 5);
  });

  test('answers many at once as it answers each alone', async () => {
    await using teacher = await open(['weather', 'food', 'music']);
    const words = Object.values(SUBJECTS).flatMap((each) => each.split(' '));
    const texts = Array.from(
      { length: 100 },
      (_, index) => `${words[index % words.length]} is ${'the '.repeat(index % 9)}`,
    );
    const together = await Promise.all(texts.map((text) => teacher.answer({ text }, never)));
    for (const [index, text] of texts.entries()) {
      const alone = await teacher.answer({ text }, never);
      expect(together[index]!.content).toBe(alone.content);
      expect(together[index]!.soft!.about).toEqual(alone.soft!.about!.map((each) => expect.closeTo(each, 5)));
    }
  });

  test('answers every text', async () => {
    await using teacher = await open(['weather', 'food', 'music']);
    for (const text of ['', ' ', '[PAD]', '\u{1F600}', '\ud800', 'rain '.repeat(10_000)]) {
      const { soft } = await teacher.answer({ text }, never);
      expect(
        soft!.about!.reduce((a, b) => a + b),
        text.slice(0, 20),
      ).toBeCloseTo(1, 5);
    }
  });
});

test('a student of this platform is a teacher as it is, and gives the same probabilities', async () => {
  const { archive } = await smallStudent();
  const folder = await mkdtemp(join(tmpdir(), 'understudy-student-'));
  for (const [name, bytes] of await openArchive(archive)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
  const student = await StudentModel.load(await openBundle(archive), { threads: 1 });
  try {
    await using teacher = await open([...STUDENT_LABELS], {}, { folder });
    for (const text of ['my INVOICE is wrong', 'Where is my delivery?', 'Grüße 😀', '', 'parcel '.repeat(1_000)]) {
      const [prediction] = await student.predict([text]);
      const { soft, content } = await teacher.answer({ text }, never);
      const weights = Array.from(prediction!.logits.topic!, Math.exp);
      const sum = weights.reduce((a, b) => a + b);
      const expected = weights.map((weight) => weight / sum);
      expect(soft!.about, text.slice(0, 30)).toEqual(expected.map((each) => expect.closeTo(each, 4)));
      expect(JSON.parse(content).about).toBe(STUDENT_LABELS[expected.indexOf(Math.max(...expected))]);
    }
  } finally {
    await student.release();
    await rm(folder, { recursive: true });
  }
});

describe('a model for inference', () => {
  const hypothesis = 'This is about {label}.';

  test('chooses the label whose hypothesis follows, however it is called', async () => {
    await using teacher = await open(['sound_of_music', 'wx'], { hypothesis, labels: { wx: 'weather' } }, inference);
    const answers = await Promise.all(
      ['Snow and storm', 'The band and the drummer'].map((text) => teacher.answer({ text }, never)),
    );
    expect(answers.map(({ content }) => content)).toEqual(['{"about":"wx"}', '{"about":"sound_of_music"}']);
    // Entailment logits: 2 words of 2 by 1 of 2 for weather, 0 for music.
    expect(answers[0]!.soft!.about![1]).toBeCloseTo(1 / (1 + Math.exp(-8)), 5);
  });

  test('keeps the hypothesis of a text that is too long', async () => {
    await using teacher = await open(['weather', 'music'], { hypothesis }, inference);
    const { content } = await teacher.answer({ text: `rain ${'the '.repeat(200)}song song song` }, never);
    expect(content).toBe('{"about":"weather"}');
  });
});

describe('what cannot be used is told before anything is asked:', () => {
  const own = Object.keys(SUBJECTS);
  const base = { folder: '', mapped: {}, hypotheses: undefined };

  test.each([
    ['labels of another task', { labels: ['spam', 'ham'] }, 'teacher.labels which label weather is'],
    [
      'a label that no label of the model stands for',
      { labels: [...own, 'sport'] },
      'no label of the model stands for sport',
    ],
    ['a mapping of what is not there', { labels: own, mapped: { hail: 'weather' } }, 'teacher.labels names hail'],
    ['a hypothesis for a classifier', { labels: own, hypotheses: own }, 'a label "entailment"'],
  ])('%s', (_, task, message) => {
    expect(() => readingOf({ ...base, ...task }, own)).toThrow(message);
  });

  test.each([
    ['config.json', '{"id2label": {"0": "weather"', 'config.json: it is not JSON'],
    ['config.json', '{"id2label": {"0": "weather", "2": "food"}}', 'id2label has no 1'],
    ['config.json', '{"id2label": {"0": "weather"}}', 'at least two labels'],
    ['config.json', '{"problem_type": "multi_label_classification", "id2label": {}}', 'chooses one label'],
    ['tokenizer.json', '{"model": {"type": "Magic"}}', 'tokenizer.json'],
    ['onnx/model.onnx', 'no model', 'is it complete?'],
  ])('a bad %s: %s', async (file, body, message) => {
    await using broken = await tinyModel('classifier');
    await writeFile(join(broken.folder, file), body);
    await expect(readClassifier(broken.folder)).rejects.toThrow(message);
  });

  test('a hypothesis that leaves no room for a text', async () => {
    const hypothesis = `It is ${'a '.repeat(30)}{label}`;
    await expect(open(own, { hypothesis }, inference)).rejects.toThrow('reads 24 tokens, and 36 are the hypothesis');
  });

  test.each([
    ['no folder', own, { folder: '/no/such/folder' }, undefined, 'it has no config.json'],
    [
      'fewer labels than logits',
      ['weather', 'food'],
      {},
      ['config.json', '{"id2label": {"0": "weather", "1": "food"}}'],
      'expected 2 logits a text',
    ],
    ['half a tokenizer', own, {}, ['tokenizer.json', '{"model": {"type": "WordPiece"}}'], 'cannot be used'],
  ] as const)('%s, also by the thread', async (_, labels, settings, file, message) => {
    await using broken = await tinyModel('classifier');
    if (file) await writeFile(join(broken.folder, file[0]), file[1]);
    const creating = open([...labels], settings, broken);
    await expect(creating).rejects.toMatchObject({
      ...{ failure: 'rejected', retryable: false },
      message: expect.stringContaining(message),
    });
  });
});
