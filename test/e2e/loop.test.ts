import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Verdict } from '@understudy/contract';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { labelOf, texts } from '../fakes/answers.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { labels, openAiTeacher, routingTask } from '../harness/task.ts';

const prompts = 1_200;

let dataDir: string;
let teacher: FakeTeacher;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'understudy-loop-'));
  teacher = await FakeTeacher.start();
});
afterAll(async () => {
  await teacher[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

const taskOf = () => routingTask({ name: 'loop', folder: dataDir, prompts, teacher: openAiTeacher(teacher.baseUrl) });

interface SpanRecord {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  service: string;
}

const spans = (): SpanRecord[] =>
  readdirSync(join(dataDir, 'traces')).flatMap((file) =>
    readFileSync(join(dataDir, 'traces', file), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => ({ ...JSON.parse(line), service: file.replace('.jsonl', '') })),
  );

test('prompts become pairs, a student, a promotion, and answers for an OpenAI client', async () => {
  await using platform = await TestPlatform.start({ dataDir, env: { TRACE_PROMPTS_RATIO: '1' } });
  const run = await platform.finished(await platform.startRun(taskOf()));
  expect(Verdict[run.verdict], run.reason).toBe('PROMOTED');
  expect(run.evaluation!.selectiveAgreementLowerBound).toBeGreaterThanOrEqual(0.9);
  expect((await teacher.stats()).calls).toBe(prompts);
  await platform.untilServed('loop');

  const client = new OpenAI({ baseURL: `${platform.run.httpUrl}/v1`, apiKey: 'none needed here', maxRetries: 0 });
  const fresh = texts(prompts + 100).slice(prompts);
  const right = await Promise.all(
    fresh.map(async (text) => {
      const reply = await client.chat.completions.create({
        model: 'loop',
        messages: [{ role: 'user', content: JSON.stringify({ text }) }],
      });
      return JSON.parse(reply.choices[0]!.message.content!).team === labelOf(text, labels);
    }),
  );
  expect(right.filter(Boolean).length).toBeGreaterThanOrEqual(90);

  for (const url of Object.values(platform.run.metrics)) {
    const metrics = await (await fetch(url)).text();
    expect(metrics, url).toContain('process_cpu_seconds_total');
  }
});

test('one trace follows a prompt from its submission to the promotion', () => {
  const all = spans();
  const promotion = all.find(({ service, name }) => service === 'deployer' && /promot/i.test(name));
  expect(promotion, [...new Set(all.map(({ service, name }) => `${service}: ${name}`))].join('\n')).toBeDefined();
  const trace = all.filter(({ traceId }) => traceId === promotion!.traceId);
  expect([...new Set(trace.map(({ service }) => service))].sort()).toEqual([
    'deployer',
    'evaluator',
    'pair-store',
    'prompt',
    'teacher-gateway',
    'trainer',
  ]);
  const asked = trace.filter(({ service }) => service === 'teacher-gateway');
  expect(asked.length).toBeGreaterThanOrEqual(prompts);
});

test('a second start reuses what is there and asks the teacher nothing again', async () => {
  await teacher.reset();
  await using platform = await TestPlatform.start({ dataDir });
  await platform.untilServed('loop');
  const run = await platform.finished(await platform.startRun(taskOf()));
  expect(run.answered).toBe(prompts);
  expect(run.cached).toBe(prompts);
  expect(Number(run.spentMicroUsd)).toBe(0);
  expect((await teacher.stats()).calls).toBe(0);
});
