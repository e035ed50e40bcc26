// The configuration of nats-server: addresses, JetStream's limits, and the account with its users.
import { type BucketName, buckets, streamNames, streams } from '@understudy/contract';
import type { BusUser, UserName } from './users.ts';

export interface ServerOptions {
  host: string;
  port: number;
  storeDir: string;
  users: readonly BusUser[];
  /** Public nkey of each user. */
  publicKeys: ReadonlyMap<UserName, string>;
}

/** Beyond what streams and buckets may hold, so that a newer version's somewhat larger table still fits. */
const headroomBytes = 1024 ** 3;

/** Bytes that JetStream may use: without this limit the server hangs when the disk is full. */
export const maxFileStoreBytes = (): number => {
  const ofStreams = streamNames.reduce((sum, name) => sum + streams[name].maxBytes, 0);
  const ofBuckets = (Object.keys(buckets) as BucketName[]).reduce((sum, name) => sum + buckets[name].maxBytes, 0);
  return ofStreams + ofBuckets + headroomBytes;
};

/** From a connection to its credentials: the server's own two seconds are too few for eight processes that start on busy cores. */
const authenticateWithinSeconds = 60;

/**
 * The text of a configuration file; the server reads JSON.
 * @throws RangeError when a user has no key
 */
export const serverConfig = ({ host, port, storeDir, users, publicKeys }: ServerOptions): string => {
  const configured = users.map(({ name, ...permissions }) => {
    const nkey = publicKeys.get(name);
    if (!nkey) throw new RangeError(`user ${name} has no public key`);
    return { nkey, permissions };
  });
  const config = {
    server_name: 'understudy',
    host,
    port,
    jetstream: { store_dir: storeDir, max_file_store: maxFileStoreBytes() },
    authorization: { timeout: authenticateWithinSeconds },
    accounts: { UNDERSTUDY: { jetstream: 'enabled', users: configured } },
  };
  return `${JSON.stringify(config, null, 2)}\n`;
};
