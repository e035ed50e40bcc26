import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceNames } from '@understudy/contract';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const compose = parse(readFileSync(join(import.meta.dirname, 'compose.yaml'), 'utf8'), { merge: true });

test.each(serviceNames)('%s has its own bus user, and settings that it accepts', async (name) => {
  const { environment, build } = compose.services[name];
  expect(build.args.SERVICE).toBe(name);
  expect(environment.NATS_NKEY_FILE).toBe(`/run/understudy/nats-${name}.nk`);
  const { config } = await import(join(import.meta.dirname, `../services/${name}/config.ts`));
  const given = Object.entries(environment).filter(([key]) => Object.hasOwn(config.shape, key));
  const plain = given.filter(([, value]) => !String(value).startsWith('${'));
  expect(config.safeParse(Object.fromEntries(plain)).error).toBeUndefined();
});

test('what goes on with erasures finds the platform as the command line does', () => {
  const { erasures, cli } = compose.services;
  expect(erasures.environment).toEqual(cli.environment);
  expect(erasures.entrypoint.join(' ')).toContain(cli.entrypoint.join(' '));
  expect(erasures.restart).toBe('unless-stopped');
});

test('the secrets are made once, and the bus configuration is one that nats-server takes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-compose-'));
  try {
    const init = () => execFileSync(process.execPath, [join(import.meta.dirname, 'compose-init.ts'), folder]);
    const secrets = () =>
      ['rpc-token', 'pgpass', 'nats-trainer.nk'].map((name) => readFileSync(join(folder, name), 'utf8'));
    init();
    const first = secrets();
    init();
    expect(secrets()).toEqual(first);
    expect(first[1]).toContain(readFileSync(join(folder, 'database-password'), 'utf8'));
    execFileSync('nats-server', ['-t', '-c', join(folder, 'nats.conf')], { stdio: 'pipe' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
