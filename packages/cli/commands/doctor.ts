/** `doctor`: what this machine has, and what that means. */
import { execFile } from 'node:child_process';
import { mkdirSync, statfsSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { messageOf } from '@understudy/service/errors';
import { dataFolder } from '../connect.ts';
import { engineFindings } from '../engines.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { bytes } from '../format.ts';
import { type Output, table } from '../output.ts';

const run = promisify(execFile);
const toolTimeoutMs = 10_000;
const databaseTimeoutMs = 5_000;
/** Below this the platform does not start (see the supervisor), and one run of the example needs about as much. */
const wantedFreeBytes = 2_000_000_000;
const wantedMemoryBytes = 3_000_000_000;

export interface Finding {
  what: string;
  state: 'ok' | 'note' | 'missing';
  detail: string;
}

export const doctor = async (output: Output): Promise<void> => {
  const findings = [
    nodeFinding(),
    await natsFinding(),
    coresFinding(),
    memoryFinding(),
    diskFinding(),
    await gpuFinding(),
    ...(await engineFindings()),
    await databaseFinding(),
    blobFinding(),
  ];
  const missing = findings.filter(({ state }) => state === 'missing');
  output.answer({ ok: missing.length === 0, findings }, () =>
    table(findings.map(({ what, state, detail }) => [state, what, detail])),
  );
  if (missing.length > 0) {
    throw new ExitError(
      exitCodes.failed,
      `the platform cannot run here: ${missing.map(({ what }) => what).join(', ')}`,
    );
  }
};

const nodeFinding = (): Finding => ({
  what: 'Node.js',
  state: Number(process.versions.node.split('.')[0]) >= 24 ? 'ok' : 'missing',
  detail: `${process.versions.node} (${process.execPath})`,
});

const natsFinding = async (): Promise<Finding> => {
  const binary = process.env.NATS_SERVER_BIN || 'nats-server';
  try {
    const { stdout } = await run(binary, ['--version'], { timeout: toolTimeoutMs });
    const version = /v([0-9.]+)/.exec(stdout)?.[1] ?? stdout.trim();
    const [major = 0, minor = 0] = version.split('.').map(Number);
    const old = major < 2 || (major === 2 && minor < 12);
    return {
      what: 'nats-server',
      state: old ? 'note' : 'ok',
      detail: old ? `${version}: has known flaws; 2.12 or newer is better` : version,
    };
  } catch (error) {
    return { what: 'nats-server', state: 'note', detail: `${messageOf(error)}; npm start and npm run up get one` };
  }
};

const coresFinding = (): Finding => ({
  what: 'processor',
  state: 'ok',
  detail: `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}`,
});

const memoryFinding = (): Finding => ({
  what: 'memory',
  state: totalmem() >= wantedMemoryBytes ? 'ok' : 'note',
  detail: `${bytes(totalmem())}, ${bytes(freemem())} free; the platform wants ${bytes(wantedMemoryBytes)}`,
});

const diskFinding = (): Finding => {
  const folder = dataFolder();
  try {
    mkdirSync(folder, { recursive: true });
    const { bavail, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    return {
      what: 'disk',
      state: free >= wantedFreeBytes ? 'ok' : 'note',
      detail: `${bytes(free)} free for ${folder}`,
    };
  } catch (error) {
    return {
      what: 'disk',
      state: 'missing',
      detail: `${messageOf(error)}: set UNDERSTUDY_DATA to a folder that can be written to`,
    };
  }
};

const gpuFinding = async (): Promise<Finding> => {
  try {
    const query = ['--query-gpu=name,memory.total', '--format=csv,noheader'];
    const { stdout } = await run('nvidia-smi', query, { timeout: toolTimeoutMs });
    return { what: 'GPU', state: 'ok', detail: stdout.trim().replaceAll('\n', '; ') };
  } catch {
    return { what: 'GPU', state: 'note', detail: 'none that nvidia-smi shows' };
  }
};

const databaseFinding = async (): Promise<Finding> => {
  const url = process.env.DATABASE_URL;
  if (!url) return { what: 'database', state: 'ok', detail: 'PGlite in the data folder (DATABASE_URL is not set)' };
  const { Client } = (await import('pg')).default;
  const client = new Client({ connectionString: url, connectionTimeoutMillis: databaseTimeoutMs });
  try {
    await client.connect();
    const { rows } = await client.query('show server_version');
    return { what: 'database', state: 'ok', detail: `PostgreSQL ${rows[0]?.server_version}` };
  } catch (error) {
    return { what: 'database', state: 'missing', detail: `DATABASE_URL: ${messageOf(error)}` };
  } finally {
    await client.end();
  }
};

const blobFinding = (): Finding => {
  const url = process.env.BLOB_URL;
  if (!url) return { what: 'blobs', state: 'ok', detail: 'a folder in the data folder (BLOB_URL is not set)' };
  if (!URL.canParse(url))
    return { what: 'blobs', state: 'missing', detail: `BLOB_URL: expected a URL, got ${JSON.stringify(url)}` };
  const { protocol, host, pathname } = new URL(url);
  return { what: 'blobs', state: 'ok', detail: `${protocol}//${host}${pathname}; services test it when they start` };
};
