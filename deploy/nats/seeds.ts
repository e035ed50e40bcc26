// The nkey of every user of the bus: a seed in a file that only its owner can read, made once.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createUser, fromSeed } from '@nats-io/nkeys';
import type { UserName } from './users.ts';

/** The file that holds a user's seed. */
export const seedFile = (folder: string, name: UserName): string => join(folder, `nats-${name}.nk`);

/**
 * Makes the seeds that are missing.
 * @returns the public key of each user
 * @throws Error naming a file that holds no seed
 */
export const ensureSeeds = (folder: string, names: readonly UserName[]): Map<UserName, string> => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return new Map(names.map((name) => [name, publicKeyOf(seedFile(folder, name))]));
};

const publicKeyOf = (file: string): string => {
  if (!existsSync(file)) writeFileSync(file, createUser().getSeed(), { mode: 0o600, flag: 'wx' });
  const seed = readFileSync(file, 'utf8').trim();
  try {
    return fromSeed(new TextEncoder().encode(seed)).getPublicKey();
  } catch (cause) {
    throw new Error(`${file}: expected an nkey seed (SU…): delete the file to have a new one made`, { cause });
  }
};
