import { checkDevice, DEVICES, type Device } from '@understudy/graph';
import { messageOf, StartupError } from '@understudy/service/errors';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { Cancellations } from './cancellations.ts';
import { type Config, config } from './config.ts';
import type { TrainerContext } from './context.ts';
import { Journal } from './journal.ts';
import { onPairsSealed } from './on-pairs-sealed.ts';

export const definition: ServiceDefinition<Config> = { name: 'trainer', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  await requireDevice(base.config.TRAINER_DEVICE);
  const context: TrainerContext = {
    ...base,
    cancellations: new Cancellations(),
    journal: new Journal(base.telemetry),
  };
  return {
    consumers: {
      // One at a time: a training takes all the threads it is given.
      'trainer-snapshots': { concurrency: 1, on: { 'pairs.sealed': (event) => onPairsSealed(context, event) } },
    },
    start: async () => context.cancellations.start(base.bus, base.telemetry),
    stop: () => context.cancellations.stop(),
  };
}

async function requireDevice(device: Device): Promise<void> {
  try {
    await checkDevice(device);
  } catch (cause) {
    throw new StartupError(`TRAINER_DEVICE: ${messageOf(cause)}; expected one of ${DEVICES.join(', ')}`, { cause });
  }
}
