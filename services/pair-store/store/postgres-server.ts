/** A real PostgreSQL server for tests: a fresh cluster in a temporary folder, on a free loopback port. */
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@understudy/service/testing';

/** PostgreSQL refuses root, so that its files and process get another owner. */
const NOBODY = 65_534;
const DEBIAN = '/usr/lib/postgresql';
const START_TIMEOUT_MS = 30_000;

/** Why there is no PostgreSQL to test with, or undefined when there is one. */
export function whyNoPostgres(): string | undefined {
  return findBinaries()
    ? undefined
    : 'no PostgreSQL: apt-get install postgresql, or put initdb and postgres on the PATH';
}

function findBinaries(): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => path.join(DEBIAN, version, 'bin')),
    ...(process.env.PATH ?? '').split(':'),
  ];
  return folders.find((folder) => ['initdb', 'postgres'].every((name) => existsSync(path.join(folder, name))));
}

export interface PostgresTestServer extends AsyncDisposable {
  /** URL of a new, empty database. */
  newDatabase(): Promise<string>;
}

/** Starts a server. Throws what `whyNoPostgres` says when there is none. */
export async function startPostgres(): Promise<PostgresTestServer> {
  const binaries = findBinaries();
  if (!binaries) throw new Error(whyNoPostgres());
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  const root = await mkdtemp(path.join(tmpdir(), 'understudy-postgres-'));
  if (user.uid) chownSync(root, user.uid, user.gid);
  const data = path.join(root, 'data');
  const initdb = ['-D', data, '-U', 'test', '--auth=trust', '--no-sync', '--locale=C', '-E', 'UTF8'];
  execFileSync(path.join(binaries, 'initdb'), initdb, { ...user, cwd: root, stdio: 'pipe' });
  const port = await freePort();
  const settings = ['-p', String(port), '-k', root, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off'];
  const child = spawn(path.join(binaries, 'postgres'), ['-D', data, ...settings], {
    ...user,
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGQUIT');
    await exited;
    await rm(root, { recursive: true, force: true });
  };
  try {
    await ready(child.stderr);
  } catch (cause) {
    await stop();
    throw cause;
  }
  let databases = 0;
  return {
    async newDatabase() {
      const name = `test_${++databases}`;
      const { default: pg } = await import('pg');
      const client = new pg.Client(`postgres://test@127.0.0.1:${port}/postgres`);
      await client.connect();
      await client.query(`create database ${name}`);
      await client.end();
      return `postgres://test@127.0.0.1:${port}/${name}`;
    },
    [Symbol.asyncDispose]: stop,
  };
}

function ready(log: NodeJS.ReadableStream): Promise<void> {
  let output = '';
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`PostgreSQL ${why}:\n${output}`));
    const timer = setTimeout(() => fail(`was not ready within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    log.on('end', () => fail('ended'));
    log.on('data', (chunk) => {
      output = (output + chunk).slice(-10_000);
      if (!output.includes('ready to accept connections')) return;
      clearTimeout(timer);
      resolve();
    });
  });
}
