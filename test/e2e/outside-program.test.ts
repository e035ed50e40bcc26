/**
 * A program of somebody else's takes part: it has a NATS client, the protobuf schema and the table of subjects in
 * asyncapi.json, and nothing of ours.
 */

import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { jetstream } from '@nats-io/jetstream';
import { connect, headers, nkeyAuthenticator } from '@nats-io/transport-node';
import { BatchClosedSchema, EvalPassedSchema, PromptSubmittedSchema, Purpose, Source } from '@understudy/contract';
import { expect, test } from 'vitest';
import { texts } from '../fakes/answers.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, routingTask } from '../harness/task.ts';

/** Of a publication; a busy server has twelve hundred to store. */
const publishTimeoutMs = 240_000;

test('it publishes prompt.submitted and receives eval.passed', async () => {
  await using platform = await TestPlatform.start();
  await using _teacher = await FakeTeacher.start({ natsUrl: platform.run.natsUrl, natsSeed: platform.operatorSeed });
  const task = routingTask({ name: 'outside', folder: platform.dataDir, prompts: 1, teacher: natsTeacher });
  const { taskDigest } = await platform.prompt.applyTask({
    taskJson: JSON.stringify({ ...task, budget: { calls: 5_000, usd: 10 } }),
  });

  const nc = await connect({
    servers: platform.run.natsUrl,
    authenticator: nkeyAuthenticator(new TextEncoder().encode(platform.operatorSeed)),
    inboxPrefix: '_INBOX.operator',
  });
  const judged = nc.subscribe('eval.*.outside', { max: 1 });
  const js = jetstream(nc);
  const publish = (type: string, subject: string, data: Uint8Array) => {
    const head = headers();
    head.set('ce-specversion', '1.0');
    head.set('ce-id', randomUUID());
    head.set('ce-type', `understudy.${type}.v1`);
    head.set('ce-source', 'somebody/else');
    return js.publish(subject, data, { headers: head, timeout: publishTimeoutMs });
  };

  const address = { runId: 'outside-run-1', task: 'outside', taskDigest };
  // Whoever submits prompts of their own is given the key of the platform's ids.
  const idKey = Buffer.from(readFileSync(platform.run.idKeyFile ?? '', 'utf8'), 'hex');
  const ids = await Promise.all(
    texts(1_200).map(async (text) => {
      const inputJson = JSON.stringify({ text });
      const promptId = createHmac('sha256', idKey).update(`outside\n${inputJson}`).digest('hex');
      const prompt = create(PromptSubmittedSchema, {
        ...address,
        promptId,
        inputJson,
        purpose: Purpose.LABEL,
        source: Source.RANDOM,
        weight: 1,
        batch: 1,
      });
      await publish('prompt.submitted', 'prompt.submitted.nats.outside', toBinary(PromptSubmittedSchema, prompt));
      return promptId;
    }),
  );
  const promptIds = Buffer.from(ids.sort().join(''), 'hex');
  const closed = create(BatchClosedSchema, { ...address, batch: 1, count: ids.length, promptIds, seal: true });
  await publish('batch.closed', 'batch.closed.outside', toBinary(BatchClosedSchema, closed));

  for await (const message of judged) {
    expect(message.subject, 'what the evaluator says').toBe('eval.passed.outside');
    const fact = fromBinary(EvalPassedSchema, message.data);
    expect(fact.runId).toBe('outside-run-1');
    expect(fact.summary?.selectiveAgreementLowerBound).toBeGreaterThan(0.9);
  }
  await nc.close();
});
