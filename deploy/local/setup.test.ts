import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { difference } from './dependencies.mjs';
import { RELEASE } from './nats-server-sources.mjs';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'understudy-setup-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (path: string, content: object | string) => {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
};

/** A program that says it is a nats-server of some version. */
const server = (path: string, version: string) =>
  chmodSync(write(path, `#!/bin/sh\necho 'nats-server: v${version}'\n`), 0o755);

/** The server that a set-up with this folder as its world chooses, and what it says about it. */
const chosen = () => {
  const module = JSON.stringify(new URL('./nats-server.mjs', import.meta.url).href);
  const script = `import { ensureNatsServer } from ${module}; console.log(await ensureNatsServer(${JSON.stringify(join(folder, 'tools'))}));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    env: { PATH: `${join(folder, 'bin')}:/bin:/usr/bin` },
    encoding: 'utf8',
  });
  return { path: stdout.trim().replace(folder, ''), said: stderr };
};

test('a new enough nats-server on the PATH is taken without a word', () => {
  server('bin/nats-server', '2.14.3');
  server(`tools/nats-server-${RELEASE}/nats-server`, RELEASE);
  expect(chosen()).toEqual({ path: '/bin/nats-server', said: '' });
});

test('a cached one is better than an old one on the PATH', () => {
  server('bin/nats-server', '2.9.10');
  server(`tools/nats-server-${RELEASE}/nats-server`, RELEASE);
  expect(chosen()).toEqual({ path: `/tools/nats-server-${RELEASE}/nats-server`, said: '' });
});

test('an old one is accepted, with a warning, when a newer one could not be had lately', () => {
  server('bin/nats-server', '2.9.10');
  write('tools/nats-server-tried.json', { triedAt: new Date().toISOString(), failures: [] });
  expect(chosen()).toMatchObject({
    path: '/bin/nats-server',
    said: expect.stringContaining('2.9.10 (') as string,
  });
});

const lock = {
  packages: {
    '': { name: 'example' },
    'packages/a': { version: '1.0.0' },
    'node_modules/a': { resolved: 'packages/a', link: true },
    'node_modules/b': { version: '2.0.0', integrity: 'sha512-b' },
    'node_modules/for-another-platform': { version: '1.0.0', integrity: 'sha512-c', optional: true },
  },
};
const installed = {
  packages: {
    'node_modules/a': { resolved: 'packages/a', link: true },
    'node_modules/b': { version: '2.0.0', integrity: 'sha512-b' },
  },
};

const install = (record: object) => {
  write('package-lock.json', lock);
  write('node_modules/.package-lock.json', record);
  for (const name of ['a', 'b']) write(`node_modules/${name}/package.json`, '{}');
};

test('packages as they are locked need no installation', () => {
  install(installed);
  expect(difference(folder)).toBeUndefined();
});

test('a missing installation, another version, a forged package and a deleted one are noticed', () => {
  write('package-lock.json', lock);
  expect(difference(folder)).toBe('node_modules is missing or incomplete');
  install({ packages: { ...installed.packages, 'node_modules/b': { version: '1.9.0', integrity: 'sha512-b' } } });
  expect(difference(folder)).toMatch(/node_modules\/b is not as package-lock.json wants it/);
  install({ packages: { ...installed.packages, 'node_modules/b': { version: '2.0.0', integrity: 'sha512-x' } } });
  expect(difference(folder)).toMatch(/node_modules\/b is not as/);
  install(installed);
  rmSync(join(folder, 'node_modules/b'), { recursive: true });
  expect(difference(folder)).toBe('node_modules/b is gone');
});
