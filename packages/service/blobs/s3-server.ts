/** A real S3 server for tests: versitygw over a temporary folder, on a free loopback port. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'minio';
import { freePort } from '../testing.ts';

const START_TIMEOUT_MS = 20_000;
const REPOSITORY = path.resolve(import.meta.dirname, '../../..');

/** Why there is no S3 server to test with, or undefined when there is one. */
export function whyNoS3Server(): string | undefined {
  if (findVersitygw()) return undefined;
  return 'no versitygw: set VERSITYGW_BIN, or go install github.com/versity/versitygw/cmd/versitygw@latest';
}

function findVersitygw(): string | undefined {
  const folders = [path.join(REPOSITORY, '.understudy/tools'), ...(process.env.PATH ?? '').split(path.delimiter)];
  const candidates = [process.env.VERSITYGW_BIN, ...folders.map((folder) => path.join(folder, 'versitygw'))];
  const found = candidates.find((file) => file && existsSync(file));
  if (found) return found;
  const installed = path.join(goPath(), 'bin/versitygw');
  return existsSync(installed) ? installed : undefined;
}

function goPath(): string {
  try {
    return execFileSync('go', ['env', 'GOPATH'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return ''; // no Go on this machine
  }
}

export interface S3TestServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** An empty bucket. */
  readonly bucket: string;
}

/** Starts the server and makes one bucket. Throws what `whyNoS3Server` says when there is none. */
export async function startS3Server(): Promise<S3TestServer> {
  const binary = findVersitygw();
  if (!binary) throw new Error(whyNoS3Server());
  const root = await mkdtemp(path.join(tmpdir(), 'understudy-s3-'));
  // Metadata go to a folder beside the objects: not every file system has extended attributes.
  for (const folder of ['data', 'metadata']) await mkdir(path.join(root, folder));
  const port = await freePort();
  const accessKeyId = 'test-access-key';
  const secretAccessKey = 'test-secret-key';
  const child = spawn(
    binary,
    [
      '--port',
      `127.0.0.1:${port}`,
      '--quiet',
      'posix',
      '--sidecar',
      path.join(root, 'metadata'),
      path.join(root, 'data'),
    ],
    { stdio: 'ignore', env: { ...process.env, ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey } },
  );
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
    await rm(root, { recursive: true, force: true });
  };
  const client = new Client({
    endPoint: '127.0.0.1',
    port,
    useSSL: false,
    accessKey: accessKeyId,
    secretKey: secretAccessKey,
  });
  for (const deadline = Date.now() + START_TIMEOUT_MS; ; await sleep(50)) {
    try {
      await client.makeBucket('blobs', 'us-east-1');
      break;
    } catch (cause) {
      if (Date.now() < deadline && child.exitCode === null) continue;
      await stop();
      throw new Error(`${binary} did not come up within ${START_TIMEOUT_MS} ms`, { cause });
    }
  }
  return {
    endpoint: `http://127.0.0.1:${port}`,
    accessKeyId,
    secretAccessKey,
    bucket: 'blobs',
    [Symbol.asyncDispose]: stop,
  };
}
