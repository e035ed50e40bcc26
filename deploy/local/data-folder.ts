// The folder that holds everything: can it be written to, is there room, is anyone else at work in it?
import { randomBytes } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StartupError } from '@understudy/service/errors';
import { ensureIdKeyFile } from '@understudy/service/id-key';
import { makeFolder } from './commands.mjs';
import { tryLock } from './lock.mjs';

/** Below this nothing starts, and what runs is stopped while its stores can still be closed in order. */
export const minFreeBytes = 512 * 1024 ** 2;

const mebibytes = (bytes: number) => `${Math.floor(bytes / 1024 ** 2)} MiB`;

/** Why there is too little room, or undefined. */
export const lackOfSpace = (folder: string): string | undefined => {
  const { bavail, bsize } = statfsSync(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes >= minFreeBytes) return undefined;
  return `the disk of ${folder} is full: ${mebibytes(freeBytes)} are free and ${mebibytes(minFreeBytes)} are needed; make room, or set UNDERSTUDY_DATA to a folder on another disk`;
};

/**
 * Takes the folder for this supervisor alone.
 * @throws StartupError when it cannot be written to, has too little room, or another supervisor is at work in it
 * @returns gives it back
 */
export const takeDataFolder = (folder: string): (() => void) => {
  try {
    makeFolder(folder);
    for (const part of ['logs', 'secrets', 'nats']) mkdirSync(join(folder, part), { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw new StartupError(`cannot write to the data folder ${folder} (set UNDERSTUDY_DATA to another one)`, { cause });
  }
  const lack = lackOfSpace(folder);
  if (lack) throw new StartupError(lack);
  const { release, holder } = tryLock(join(folder, 'lock-supervisor'), 'running the platform');
  if (release) return release;
  throw new StartupError(
    `process ${holder.pid} is already running the platform on ${folder}: use it (understudy status), stop it, or set UNDERSTUDY_DATA to another folder`,
  );
};

/** The file with the secret that ids are keyed by, made once; a folder that was used before has ids without one. */
export const idKeyFile = (folder: string): string => {
  const file = join(folder, 'secrets', 'id-key');
  ensureIdKeyFile(file, !existsSync(join(folder, 'pair-store')));
  return file;
};

/** The file with the bearer token of calls between services, made once. */
export const rpcTokenFile = (folder: string): string => {
  const file = join(folder, 'secrets', 'rpc-token');
  if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600, flag: 'wx' });
  return file;
};
