import { totalmem } from 'node:os';
import { checkDevice, DEVICES, type Device } from '@understudy/graph';
import { messageOf, StartupError } from '@understudy/service/errors';
import type { ServiceContext, ServiceDefinition, ServiceParts } from '@understudy/service/lifecycle';
import { Cancellations } from './cancellations.ts';
import { type Config, config } from './config.ts';
import type { TrainerContext } from './context.ts';
import { Journal } from './journal.ts';
import { onPairsSealed } from './on-pairs-sealed.ts';
import type { Machine } from './search/plan.ts';

export const definition: ServiceDefinition<Config> = { name: 'trainer', config, create };

async function create(base: ServiceContext<Config>): Promise<ServiceParts> {
  await requireDevice(base.config.TRAINER_DEVICE);
  const context: TrainerContext = {
    ...base,
    cancellations: new Cancellations(),
    journal: new Journal(base.telemetry),
    machine: machineOf(base.config),
  };
  return {
    consumers: {
      // One at a time: a search takes all the threads it is given.
      'trainer-snapshots': { concurrency: 1, on: { 'pairs.sealed': (event) => onPairsSealed(context, event) } },
    },
    start: async () => context.cancellations.start(base.bus, base.telemetry),
    stop: () => context.cancellations.stop(),
  };
}

/** A container's memory where it has a limit, else the machine's; in total, so that the plan is the same every time. */
const machineOf = ({ TRAINING_THREADS, TRAINER_DEVICE }: Config): Machine => ({
  threads: TRAINING_THREADS,
  memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  sharesDevice: TRAINER_DEVICE === 'cpu',
});

async function requireDevice(device: Device): Promise<void> {
  try {
    await checkDevice(device);
  } catch (cause) {
    throw new StartupError(`TRAINER_DEVICE: ${messageOf(cause)}; expected one of ${DEVICES.join(', ')}`, { cause });
  }
}
