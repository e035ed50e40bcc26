// The bus of one machine: a nats-server on loopback, with its store in the data folder.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { connectBus } from '@understudy/service/bus/connection';
import { provision } from '@understudy/service/bus/provision';
import { Telemetry } from '@understudy/service/telemetry';
import { ensureSeeds, seedFile } from '../nats/seeds.ts';
import { serverConfig } from '../nats/server-config.ts';
import { busUsers } from '../nats/users.ts';
import { type ChildSpec, readyWithinMs } from './child.ts';
import type { Settings } from './settings.ts';

const naming = { prefix: '' };
/** The server closes its streams in well under a second. */
const stopWithinMs = 10_000;

export const secretsFolder = (dataDir: string): string => join(dataDir, 'secrets');
export const operatorSeedFile = (dataDir: string): string => seedFile(secretsFolder(dataDir), 'operator');

/** Writes the server's configuration and says how to run it. */
export const natsProcess = ({ dataDir, teacherSubjects }: Settings, port: number): ChildSpec => {
  const users = busUsers({ naming, teacherSubjects });
  const publicKeys = ensureSeeds(
    secretsFolder(dataDir),
    users.map(({ name }) => name),
  );
  const file = join(dataDir, 'nats', 'nats.conf');
  const storeDir = join(dataDir, 'nats', 'store');
  writeFileSync(file, serverConfig({ host: '127.0.0.1', port, storeDir, users, publicKeys }), { mode: 0o600 });
  return {
    name: 'nats-server',
    program: process.env.NATS_SERVER_BIN || 'nats-server',
    args: ['-c', file],
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
    logFile: join(dataDir, 'logs', 'nats-server.log'),
    isReady: () => accepts(port),
    readyWithinMs,
    stopWithinMs,
  };
};

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

/** Makes or updates streams, consumers and buckets, as the operator. */
export const provisionBus = async (dataDir: string, url: string): Promise<void> => {
  const seed = readFileSync(operatorSeedFile(dataDir), 'utf8');
  const telemetry = new Telemetry({ service: 'supervisor', logLevel: 'silent' });
  const bus = await connectBus({ url, seed, name: 'operator', naming, log: telemetry.log });
  try {
    await provision(bus);
  } finally {
    await bus.close();
  }
};

/** Services have this long to let go of the bus before a server without supervisor is ended. */
const guardDelaySeconds = 5;

/**
 * nats-server does not notice that its supervisor was killed. A waiting shell does: the pipe on its standard input
 * ends, and it ends the server.
 * @returns calls the guard off
 */
export const guard = (pid: number): (() => void) => {
  const script = `cat >/dev/null; sleep ${guardDelaySeconds}; kill -TERM "$0" 2>/dev/null`;
  const shell = spawn('/bin/sh', ['-c', script, String(pid)], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  return () => {
    shell.kill('SIGKILL');
  };
};
