// Makes or updates the streams, consumers and buckets of a bus: the init job of a cluster.
import { readFileSync } from 'node:fs';
import { connectBus } from '@understudy/service/bus/connection';
import { provision } from '@understudy/service/bus/provision';
import { readConfig } from '@understudy/service/config';
import { Telemetry } from '@understudy/service/telemetry';
import { z } from 'zod';

const config = readConfig(
  z.object({
    NATS_URL: z.string(),
    /** Seed of the user `operator`. */
    NATS_NKEY_FILE: z.string(),
    SUBJECT_PREFIX: z.string().default(''),
    /** Copies of each stream: 3 on a cluster of three servers or more. */
    STREAM_REPLICAS: z.coerce.number().int().min(1).max(5).default(1),
  }),
  process.env,
);

const { log } = new Telemetry({ service: 'provision', logLevel: 'info' });
const seed = readFileSync(config.NATS_NKEY_FILE, 'utf8');
const bus = await connectBus({
  url: config.NATS_URL,
  seed,
  name: 'operator',
  naming: { prefix: config.SUBJECT_PREFIX },
  log,
});
await provision(bus, { replicas: config.STREAM_REPLICAS });
await bus.close();
log.info('streams, consumers and buckets are in place');
