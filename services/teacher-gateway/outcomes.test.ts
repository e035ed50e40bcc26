import { DeclineReason, Purpose } from '@understudy/contract';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Stage } from './testing.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.start();
  await stage.gateway();
});
afterEach(() => stage.fake.reset());
afterAll(() => stage[Symbol.asyncDispose]());

const once = { timeoutMs: 400, maxRetries: 1, rate: { concurrency: 64 } };
const teachers = {
  openai: () => ({ kind: 'openai', model: 'fake', baseUrl: stage.fake.baseUrl, ...once }),
  nats: () => ({ kind: 'nats', model: 'fake', subject: 'models.fake', ...once }),
};
const pricing = { inputUsdPerMillionTokens: 1_000, outputUsdPerMillionTokens: 2_000 };

describe.each(['openai', 'nats'] as const)('over %s', (kind) => {
  test('a prompt gets a valid answer with what it cost', async () => {
    const task = await stage.apply({ name: `fine-${kind}`, teacher: { ...teachers[kind](), pricing } });
    const [prompt] = await stage.submit(task, `fine-${kind}`, ['login is broken']);
    await stage.outcomes(`fine-${kind}`, 1);
    const [fact] = stage.answeredIn(`fine-${kind}`);
    expect(fact).toMatchObject({ cached: false, batch: 1, taskDigest: task.digest });
    const label = JSON.parse(fact!.pair!.answerJson).team;
    expect(task.output.labels).toContain(label);
    expect(fact!.pair).toMatchObject({
      promptId: prompt!.promptId,
      text: 'login is broken',
      label,
      purpose: Purpose.LABEL,
      usage: { calls: 1, inputTokens: 20n, outputTokens: 5n, spentMicroUsd: 30_000n },
    });
  });

  test.each([
    ['unauthorized', DeclineReason.UNAUTHORIZED, 1],
    ['rate-limited', DeclineReason.UNAVAILABLE, 2],
    ['server-error', DeclineReason.UNAVAILABLE, 2],
    ['slow', DeclineReason.UNAVAILABLE, 2],
    ['truncated', DeclineReason.UNAVAILABLE, 2],
    ['reset', DeclineReason.UNAVAILABLE, 2],
    ['not-json', DeclineReason.INVALID_ANSWER, 2],
    ['outside-schema', DeclineReason.INVALID_ANSWER, 2],
    ['prose', DeclineReason.INVALID_ANSWER, 2],
  ] as const)(
    'a teacher that is %s: the prompt is declined with the reason after so many calls',
    async (failure, reason, calls) => {
      const runId = `${failure}-${kind}`;
      const task = await stage.apply({ name: runId, teacher: teachers[kind]() });
      await stage.fake.behave({ failures: { [failure]: 1 }, slowMs: 2_000, retryAfterMs: 50 });
      await stage.submit(task, runId, ['any text']);
      await stage.outcomes(runId, 1);
      const [fact] = stage.declinedIn(runId);
      expect(fact && { reason: DeclineReason[fact.reason], attempts: fact.attempts }).toEqual({
        reason: DeclineReason[reason],
        attempts: calls,
      });
      expect(fact!.detail).not.toBe('');
    },
  );
});
