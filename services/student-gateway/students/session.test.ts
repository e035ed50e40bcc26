import { Telemetry } from '@understudy/service/telemetry';
import { policyJson } from '@understudy/student';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { maxQueuedTexts } from '../limits.ts';
import { LABELS, studentOf } from '../testing.ts';
import type { StudentMaterial } from './protocol.ts';
import { StudentSession, StudentUnavailableError } from './session.ts';
import { type StudentThread, StudentUnfitError } from './student-thread.ts';
import { ThreadPool } from './threads.ts';

const { log } = new Telemetry({ service: 'test', logLevel: process.env.TEST_LOG_LEVEL || 'silent' });

const schemaOf = (field: string, labels: readonly string[]) => ({
  type: 'object',
  properties: { [field]: { enum: [...labels] } },
  required: [field],
  additionalProperties: false,
});
const answers = LABELS.map((topic) => JSON.stringify({ topic }));

let material: StudentMaterial;
beforeAll(async () => {
  const { archive, digest } = await studentOf(7);
  const policy = {
    version: 2 as const,
    studentDigest: digest,
    heads: [{ name: 'topic', temperature: 1 }],
    threshold: 0.6,
  };
  material = {
    studentDigest: digest,
    bundle: archive,
    policyJson: policyJson(policy),
    outputSchema: schemaOf('topic', LABELS),
    warmUpTexts: ['hello'],
    threads: 1,
  };
});

/** A session whose threads the test can get hold of. */
const openSession = async () => {
  const pool = new ThreadPool(log);
  const threads: StudentThread[] = [];
  let restarts = 0;
  let broken = false;
  const session = await StudentSession.open(material, {
    log,
    onRestart: () => {
      restarts += 1;
    },
    threads: {
      start: async (given) => {
        const thread = await pool.start(broken ? { ...given, bundle: Buffer.from('damaged meanwhile') } : given);
        threads.push(thread);
        return thread;
      },
      release: (thread) => pool.release(thread),
    },
  });
  const setBroken = (value: boolean) => {
    broken = value;
  };
  return { session, pool, threads, restarts: () => restarts, setBroken };
};

test('texts that come together are answered together, and each gets its own answer', async () => {
  const { session } = await openSession();
  const texts = ['my invoice is wrong', 'where is my delivery', 'my account is locked'];
  const many = Array.from({ length: 200 }, (_, index) => texts[index % 3]!);
  const predictions = await Promise.all(many.map((text) => session.predict(text)));
  expect(predictions.map(({ answerJson }) => answerJson)).toEqual(many.map((_, index) => answers[index % 3]));
  for (const { confidence, sure, tokens } of predictions) {
    expect(sure).toBe(confidence >= 0.6);
    expect(tokens).toBeGreaterThan(0);
  }
  expect((await session.predict('Grüße')).tokens).toBe(7);
  await session.retire();
});

test('a thread that dies in the middle costs no request: they are tried again on a new one', async () => {
  const { session, threads, restarts } = await openSession();
  const asked = Array.from({ length: 500 }, () => session.predict('where is my delivery'));
  await asked[0];
  threads[0]!.kill();
  const predictions = await Promise.all(asked);
  expect(predictions.every(({ answerJson }) => answerJson === answers[1])).toBe(true);
  expect(restarts()).toBe(1);
  await session.retire();
});

test('a student that cannot be started again lets nobody wait, and comes back when it can', async () => {
  const { session, threads, setBroken } = await openSession();
  setBroken(true);
  threads[0]!.kill();
  await threads[0]!.gone;
  await expect(session.predict('anything')).rejects.toBeInstanceOf(StudentUnavailableError);
  await expect(session.predict('anything')).rejects.toBeInstanceOf(StudentUnavailableError);
  setBroken(false);
  for (;;) {
    const prediction = await session.predict('where is my delivery').catch(() => undefined);
    if (prediction) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await session.retire();
});

test('a full queue refuses what comes on top, and answers what it took', async () => {
  const { session } = await openSession();
  const asked = Array.from({ length: maxQueuedTexts + 1 }, () => session.predict('hello'));
  const outcomes = await Promise.allSettled(asked);
  expect(outcomes.at(-1)).toMatchObject({ status: 'rejected', reason: { kind: 'overloaded', retryAfterMs: 1_000 } });
  expect(outcomes.slice(0, -1).every(({ status }) => status === 'fulfilled')).toBe(true);
  await session.retire();
});

test('a retired session answers what it had taken, leaves its thread to the next student, and takes nothing more', async () => {
  const { session, threads, pool } = await openSession();
  const asked = Array.from({ length: 300 }, () => session.predict('hello'));
  await session.retire();
  expect((await Promise.allSettled(asked)).every(({ status }) => status === 'fulfilled')).toBe(true);
  await expect(session.predict('late')).rejects.toBeInstanceOf(StudentUnavailableError);
  const next = await StudentSession.open(material, { log, threads: pool });
  expect(await next.predict('where is my delivery')).toMatchObject({ answerJson: answers[1] });
  await next.retire();
  expect(threads).toHaveLength(1);
  await pool.close();
  await threads[0]!.gone;
});

const shared = new ThreadPool(log);
afterAll(() => shared.close());

test.each([
  ['another output field', { outputSchema: schemaOf('subject', LABELS) }, /the output fields/],
  ['other labels', { outputSchema: schemaOf('topic', ['bill', 'password', 'parcel']) }, /the field topic/],
  ['another digest', { studentDigest: 'f'.repeat(64) }, /expected the archive f{64}/],
  ['a policy that is none', { policyJson: '{}' }, /version/],
  ['a bundle that is none', { bundle: Buffer.from('nothing') }, /./],
])('a student with %s is unfit', async (_what, change, message) => {
  const opening = StudentSession.open({ ...material, ...change }, { log, threads: shared });
  await expect(opening).rejects.toThrow(message);
  await expect(opening).rejects.toBeInstanceOf(StudentUnfitError);
});
