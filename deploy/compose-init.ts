// Makes the secrets and the bus configuration of `compose.yaml`, once, in the folder given. Run by its `init` container.
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureIdKeyFile } from '@understudy/service/id-key';
import { ensureSeeds } from './nats/seeds.ts';
import { serverConfig } from './nats/server-config.ts';
import { busUsers } from './nats/users.ts';

const folder = process.argv[2];
if (!folder) throw new Error('usage: node deploy/compose-init.ts FOLDER');

const secret = () => randomBytes(24).toString('hex');

/** Writes a file that does not exist yet; containers of other images read it under other user ids. */
const once = (name: string, content: () => string, mode = 0o644): void => {
  const file = join(folder, name);
  if (!existsSync(file)) writeFileSync(file, content(), { flag: 'wx' });
  chmodSync(file, mode);
};

const teacherSubjects = (process.env.TEACHER_SUBJECTS || 'models.>').split(',');
const users = busUsers({ naming: { prefix: '' }, teacherSubjects });
const publicKeys = ensureSeeds(
  folder,
  users.map(({ name }) => name),
);
const config = serverConfig({ host: '0.0.0.0', port: 4222, storeDir: '/data', users, publicKeys });
writeFileSync(join(folder, 'nats.conf'), config);

// A platform that has its token already was used before ids had keys.
ensureIdKeyFile(join(folder, 'id-key'), !existsSync(join(folder, 'rpc-token')));

const databasePassword = secret();
once('database-password', () => databasePassword);
// libpq's password file; it is ignored unless its owner alone can read it.
once('pgpass', () => `postgres:5432:understudy:understudy:${databasePassword}\n`, 0o600);
once('s3-access-key', secret);
once('s3-secret-key', secret);
once('rpc-token', secret, 0o600);
once('api-keys.json', () => JSON.stringify([{ name: 'default', key: secret() }]), 0o600);
