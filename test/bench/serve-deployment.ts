/** Two really trained students of one task, and deployments of them as the deployer would write them. */
import { create, toJsonString } from '@bufbuild/protobuf';
import { DeploymentSchema } from '@understudy/contract/deployer';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import type { BusConnection } from '@understudy/service/bus/connection';
import { type ExportedStudent, labelHead, policyJson, trainStudent } from '@understudy/student';
import { parseTask, taskDigest, taskJson } from '@understudy/task';
import type { Mail } from './serve-inputs.ts';

const labels = ['ham', 'spam'];

/** Records traffic, as a task does whose students are to be trained further. */
export const task = parseTask(
  JSON.stringify({
    name: 'bench-serve',
    input: { fields: ['text'] },
    prompt: { instructions: 'Is this mail wanted (ham) or not (spam)?', template: '{{text}}', maxCharacters: 200 },
    output: {
      schema: {
        type: 'object',
        properties: { label: { enum: labels } },
        required: ['label'],
        additionalProperties: false,
      },
    },
    teacher: { kind: 'nats', subject: 'models.none', model: 'none' },
    budget: { calls: 1, usd: 0 },
    goal: { agreement: 0.9 },
    recordTraffic: true,
  }),
);

/** A student of the size that is used, trained as briefly as its speed allows: what it answers is not measured here. */
export const studentOf = async (texts: readonly Mail[], seed: number): Promise<ExportedStudent> => {
  const examples = texts.map(({ text, label }) => ({
    text,
    target: [{ value: { kind: 'choice' as const, index: labels.indexOf(label) } }],
    weight: 1,
  }));
  const devCount = Math.floor(examples.length / 5);
  const [dev, train] = [examples.slice(0, devCount), examples.slice(devCount)];
  const lineage = {
    task: { name: task.name, digest: taskDigest(task) },
    snapshotDigest: '0'.repeat(64),
    fingerprint: '0'.repeat(64),
  };
  const candidate = { family: 'bag', hyperparameters: { epochs: 2 } } as const;
  return trainStudent({ candidate, heads: [labelHead('label', labels)], train, dev, seed, threads: 1, lineage });
};

/** Deploys a student that answers everything itself: no answer of a teacher is to be measured here. */
export const deploy = async (
  bus: BusConnection,
  blobs: BlobStore,
  student: ExportedStudent,
  generation: number,
): Promise<void> => {
  await blobs.put('tasks', Buffer.from(taskJson(task)));
  await blobs.put('students', student.archive);
  const policy = {
    version: 2 as const,
    studentDigest: student.digest,
    heads: [{ name: 'label', temperature: 1 }],
    threshold: 0,
  };
  const deployment = create(DeploymentSchema, {
    task: task.name,
    taskDigest: taskDigest(task),
    studentDigest: student.digest,
    policyDigest: await blobs.put('policies', Buffer.from(policyJson(policy))),
    generation: BigInt(generation),
  });
  const bucket = await bus.bucket('deployments');
  await bucket.put(task.name, toJsonString(DeploymentSchema, deployment));
};
