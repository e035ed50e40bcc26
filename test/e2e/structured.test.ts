import { Verdict } from '@understudy/contract';
import { Ajv } from 'ajv';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerOf, texts } from '../fakes/answers.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { labels, openAiTeacher, routingTask } from '../harness/task.ts';

const prompts = 400;
/** Short, because a student of spans looks at every byte of a text in each of its steps. */
const population = texts(prompts + 60).map((text) => text.split(' ').toSpliced(4, 13).join(' '));

let teacher: FakeTeacher;
let platform: TestPlatform;
beforeAll(async () => {
  teacher = await FakeTeacher.start();
  platform = await TestPlatform.start();
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
  await teacher[Symbol.asyncDispose]();
});

const schema = {
  type: 'object',
  properties: {
    team: { $ref: '#/$defs/team' },
    others: { type: 'array', items: { $ref: '#/$defs/team' }, uniqueItems: true, maxItems: 2 },
    subject: { type: ['string', 'null'], 'x-copied-from': 'text' },
    case: {
      type: 'object',
      properties: { urgent: { type: 'boolean' }, size: { type: 'integer', minimum: 1, maximum: 5, 'x-tolerance': 1 } },
      required: ['urgent', 'size'],
      additionalProperties: false,
    },
    reply: { type: 'string', 'x-left-to': 'teacher' },
  },
  required: ['team', 'others', 'subject', 'case'],
  additionalProperties: false,
  $defs: { team: { enum: [...labels] } },
};

test('a task of several fields goes from prompts to valid answers of a promoted student', async () => {
  const task = {
    ...routingTask({
      name: 'desk',
      folder: platform.dataDir,
      prompts,
      texts: population.slice(0, prompts),
      teacher: openAiTeacher(teacher.baseUrl),
      goal: { agreement: 0.7, coverage: 0.3, sizeBytes: 5_000_000, latencyMs: 1_000 },
    }),
    output: { schema },
    splits: { dev: 0.2, test: 0.3 },
    // It takes as long as it takes.
    training: { families: ['bag'], maxMinutes: 120 },
  };
  const run = await platform.finished(await platform.startRun(task));
  expect(Verdict[run.verdict], run.reason).toBe('PROMOTED');
  await platform.untilServed('desk');

  const validate = new Ajv({ strict: false }).compile(schema);
  const client = new OpenAI({ baseURL: `${platform.run.httpUrl}/v1`, apiKey: 'none needed here', maxRetries: 0 });
  const fresh = population.slice(prompts);
  const replies = await Promise.all(
    fresh.map(async (text) => {
      const { data, response } = await client.chat.completions
        .create({ model: 'desk', messages: [{ role: 'user', content: JSON.stringify({ text }) }] })
        .withResponse();
      const answer = JSON.parse(data.choices[0]!.message.content!);
      expect(validate(answer), JSON.stringify([answer, validate.errors])).toBe(true);
      const expected = JSON.parse(answerOf(text, schema));
      const { team, others, subject } = answer;
      const right = JSON.stringify({ team, others, subject });
      return {
        by: response.headers.get('x-understudy-answerer'),
        reply: 'reply' in answer,
        agrees: right === JSON.stringify({ team: expected.team, others: expected.others, subject: expected.subject }),
      };
    }),
  );
  const byStudent = replies.filter(({ by }) => by === 'student');
  expect(byStudent.length).toBeGreaterThan(10);
  expect(byStudent.filter(({ agrees }) => agrees).length / byStudent.length).toBeGreaterThanOrEqual(0.8);
  // Only the teacher writes replies.
  expect(replies.some(({ reply }) => reply)).toBe(true);
  expect(byStudent.some(({ reply }) => reply)).toBe(false);
});
