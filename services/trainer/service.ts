import { totalmem } from 'node:os';
import { join } from 'node:path';
import { ErasureService } from '@understudy/contract/erasure';
import { ForgettingService } from '@understudy/contract/pair-store';
import { type Choice, choosePlace } from '@understudy/graph';
import { messageOf, StartupError } from '@understudy/service/errors';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { createClient } from '@understudy/service/rpc/client';
import { rpcService } from '@understudy/service/rpc/server';
import { readSigningKey } from '@understudy/service/signatures/keys';
import { Cancellations } from './cancellations.ts';
import { type Config, config } from './config.ts';
import type { TrainerContext } from './context.ts';
import { ForgottenFeatures } from './forgotten-features.ts';
import { Journal } from './journal.ts';
import { FEATURES, onPairsSealed } from './on-pairs-sealed.ts';
import type { Machine } from './search/plan.ts';

export const definition: ServiceDefinition<Config> = { name: 'trainer', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  const choice = await choose(base.config);
  base.telemetry.log.info({ engine: choice.engine, device: choice.device }, `trains with ${choice.reason}`);
  const context: TrainerContext = {
    ...base,
    cancellations: new Cancellations(),
    journal: new Journal(base.telemetry),
    machine: machineOf(base.config, choice),
    choice,
    signingKey: readSigningKey(base.config.STUDENT_SIGNING_KEY_FILE, 'STUDENT_SIGNING_KEY_FILE'),
  };
  const { PAIR_STORE_ADDRESS: address, DATA_DIR } = base.config;
  const forgetting = createClient(ForgettingService, { address, token: base.rpcToken });
  const features = new ForgottenFeatures({ folder: join(DATA_DIR, FEATURES), forgetting, log: base.telemetry.log });
  return {
    rpc: [
      rpcService(ErasureService, {
        erase: async () => ({ erased: { 'files of features': BigInt(await features.drop()) } }),
      }),
    ],
    consumers: {
      // One at a time: a search takes all the threads it is given.
      'trainer-snapshots': { concurrency: 1, on: { 'pairs.sealed': (event) => onPairsSealed(context, event) } },
    },
    start: async () => {
      context.cancellations.start(base.bus, base.telemetry);
      features.start();
    },
    stop: async () => {
      await context.cancellations.stop();
      await features.stop();
      forgetting.close();
    },
  };
}

/** A container's memory where it has a limit, else the machine's; in total, so that the plan is the same every time. */
const machineOf = ({ TRAINING_THREADS }: Config, { device }: Choice): Machine => ({
  threads: TRAINING_THREADS,
  memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  sharesDevice: device === 'cpu',
});

async function choose({ TRAINER_ENGINE, TRAINER_DEVICE, TRAINING_THREADS }: Config): Promise<Choice> {
  try {
    return await choosePlace({ engine: TRAINER_ENGINE, device: TRAINER_DEVICE }, TRAINING_THREADS);
  } catch (cause) {
    throw new StartupError(`TRAINER_ENGINE and TRAINER_DEVICE: ${messageOf(cause)}`, { cause });
  }
}
