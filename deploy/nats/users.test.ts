import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type NatsConnection, PermissionViolationError } from '@nats-io/transport-node';
import { type BusConnection, connectBus } from '@understudy/service/bus/connection';
import { provision } from '@understudy/service/bus/provision';
import { Telemetry } from '@understudy/service/telemetry';
import { freePort } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureSeeds, seedFile } from './seeds.ts';
import { serverConfig } from './server-config.ts';
import { busUsers, type UserName } from './users.ts';

const naming = { prefix: '' };
const users = busUsers({ naming, teacherSubjects: ['models.>'] });
const { log } = new Telemetry({ service: 'test', logLevel: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'understudy-users-'));
const secrets = join(folder, 'secrets');
let url = '';
let stop = async () => {};

beforeAll(async () => {
  const port = await freePort();
  url = `nats://127.0.0.1:${port}`;
  const publicKeys = ensureSeeds(
    secrets,
    users.map(({ name }) => name),
  );
  const file = join(folder, 'nats.conf');
  writeFileSync(file, serverConfig({ host: '127.0.0.1', port, storeDir: join(folder, 'store'), users, publicKeys }));
  const server = spawn('nats-server', ['-c', file], { stdio: 'ignore' });
  stop = async () => {
    server.kill('SIGKILL');
    await once(server, 'exit');
  };
  await using operator = await as('operator');
  await provision(operator.bus);
});
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

interface User extends AsyncDisposable {
  bus: BusConnection;
  nc: NatsConnection;
  /** What the server refused so far: `publish eval.passed.x`. */
  refusals: string[];
}

const as = async (name: UserName): Promise<User> => {
  const bus = await connectBus({ url, seed: readFileSync(seedFile(secrets, name), 'utf8'), name, naming, log });
  const refusals: string[] = [];
  void collectRefusals(bus.nc, refusals);
  return { bus, nc: bus.nc, refusals, [Symbol.asyncDispose]: () => bus.close() };
};

const collectRefusals = async (nc: NatsConnection, refusals: string[]) => {
  for await (const status of nc.status()) {
    if (status.type !== 'error' || !(status.error instanceof PermissionViolationError)) continue;
    refusals.push(`${status.error.operation} ${status.error.subject}`);
  }
};

/** Publishes and hears the server's word on it. */
const publish = async (user: User, subject: string): Promise<void> => {
  user.nc.publish(subject, 'x');
  await user.nc.flush();
};

test.each<[UserName, string]>([
  ['trainer', 'eval.passed.email-triage'],
  ['trainer', 'student.promoted.email-triage'],
  ['evaluator', 'student.promoted.email-triage'],
  ['student-gateway', 'teacher.answered.email-triage'],
  ['deployer', 'eval.passed.email-triage'],
  ['outside', 'eval.passed.email-triage'],
  ['teacher-gateway', '$KV.deployments.email-triage'],
  ['student-gateway', '$KV.deployments.email-triage'],
  ['trainer', '$JS.API.STREAM.DELETE.FACTS'],
  ['trainer', '$JS.API.CONSUMER.MSG.NEXT.FACTS.deployer-verdicts'],
  ['trainer', '$JS.API.CONSUMER.DELETE.FACTS.deployer-verdicts'],
])('%s cannot publish %s', async (name, subject) => {
  await using user = await as(name);
  await publish(user, subject);
  await expect.poll(() => user.refusals).toEqual([`publish ${subject}`]);
});

test.each<[UserName, string]>([
  ['trainer', 'student.trained.email-triage'],
  ['evaluator', 'eval.passed.email-triage'],
  ['deployer', 'student.promoted.email-triage'],
  ['deployer', '$KV.deployments.email-triage'],
  ['prompt', 'prompt.submitted.embedded.email-triage'],
  ['teacher-gateway', 'models.triage'],
  ['outside', 'run.requested.email-triage'],
])('%s can publish %s', async (name, subject) => {
  await using user = await as(name);
  await publish(user, subject);
  // The server speaks in order: once this is refused, the one before was let through.
  await publish(user, '$JS.API.STREAM.DELETE.NOTHING');
  await expect.poll(() => user.refusals).toEqual(['publish $JS.API.STREAM.DELETE.NOTHING']);
});

test('nobody reads the inbox of another', async () => {
  await using trainer = await as('trainer');
  const spying = trainer.nc.subscribe('_INBOX.evaluator.>');
  await expect(
    (async () => {
      for await (const _ of spying);
    })(),
  ).rejects.toThrow(/permission/i);
});

test('the owner of a bucket moves a value by compare-and-set, a reader watches it', async () => {
  await using deployer = await as('deployer');
  await using gateway = await as('student-gateway');
  const [owned, watched] = [await deployer.bus.bucket('deployments'), await gateway.bus.bucket('deployments')];
  const first = await owned.create('watched-task', 'one');
  await owned.update('watched-task', 'two', first);
  await expect(owned.update('watched-task', 'three', first)).rejects.toThrow(/wrong last sequence/);
  for await (const entry of await watched.watch({ key: 'watched-task' })) {
    expect(entry.string()).toBe('two');
    break;
  }
  expect((await watched.get('watched-task'))?.string()).toBe('two');
  expect(await Array.fromAsync(await watched.keys())).toContain('watched-task');
});

test('a service takes messages from its own consumer and acknowledges them', async () => {
  await using trainer = await as('trainer');
  await using store = await as('pair-store');
  await store.bus.js.publish('pairs.sealed.email-triage', 'x');
  const consumer = await trainer.bus.js.consumers.get('FACTS', 'trainer-snapshots');
  const message = await consumer.next({ expires: 120_000 });
  expect(await message?.ackAck()).toBe(true);
});

test('an outside program is a teacher on the bus', async () => {
  await using outside = await as('outside');
  await using gateway = await as('teacher-gateway');
  outside.nc.subscribe('models.triage', {
    callback: (_error, request) => {
      request.respond('an answer');
    },
  });
  await outside.nc.flush();
  const answer = await gateway.nc.request('models.triage', 'a question', { timeout: 120_000 });
  expect(answer.string()).toBe('an answer');
});

test('seeds are made once and readable by their owner alone', () => {
  const names = users.map(({ name }) => name);
  expect(ensureSeeds(secrets, names)).toEqual(ensureSeeds(secrets, names));
  expect(statSync(seedFile(secrets, 'trainer')).mode & 0o777).toBe(0o600);
  writeFileSync(seedFile(secrets, 'trainer'), 'no seed');
  expect(() => ensureSeeds(secrets, names)).toThrow(/nats-trainer\.nk: expected an nkey seed/);
});
