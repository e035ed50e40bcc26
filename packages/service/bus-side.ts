import { setTimeout as delay } from 'node:timers/promises';
import type { ConsumerName } from '@understudy/contract';
import { type BusConnection, type BusConnectionOptions, connectBus } from './bus/connection.ts';
import { Consumption } from './bus/consume.ts';
import { Publisher } from './bus/publish.ts';
import { messageOf } from './errors.ts';
import type { OfflineParts, ServiceContext, ServiceParts } from './lifecycle.ts';
import type { Telemetry } from './telemetry.ts';

/** Between rounds of attempts; a server that refuses us ends a round at once. */
const retryMs = 2_000;

/** The part of a service that lives on the bus: begun last, ended first, closed after all else. */
export interface BusSide {
  consumptions: ReadonlyMap<ConsumerName, Consumption>;
  stop(graceMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Consumers on a bus that was there at the start. */
export class Consuming implements BusSide {
  readonly consumptions = new Map<ConsumerName, Consumption>();
  readonly #bus: BusConnection;

  constructor(context: ServiceContext, consumers: NonNullable<ServiceParts['consumers']>) {
    this.#bus = context.bus;
    for (const [name, options] of Object.entries(consumers)) {
      const consumption = new Consumption(context, name as ConsumerName, options);
      this.consumptions.set(name as ConsumerName, consumption);
      consumption.start();
    }
  }

  async stop(graceMs: number): Promise<void> {
    await Promise.all([...this.consumptions.values()].map((consumption) => consumption.stop(graceMs)));
  }

  close(): Promise<void> {
    return this.#bus.close();
  }
}

/** The bus of a service that does not wait for it. */
export class LateBus implements BusSide {
  readonly consumptions = new Map<ConsumerName, Consumption>();
  readonly #connecting: Promise<BusConnection | undefined>;
  readonly #stopped = new AbortController();

  constructor(
    options: BusConnectionOptions,
    given: BusConnection | undefined,
    parts: OfflineParts,
    telemetry: Telemetry,
  ) {
    this.#connecting = given ? Promise.resolve(given) : this.#connect(options, telemetry);
    void this.#connecting.then((bus) => {
      if (bus && !this.#stopped.signal.aborted) parts.onBus(bus, new Publisher(bus, options.name));
    });
  }

  async #connect(options: BusConnectionOptions, telemetry: Telemetry): Promise<BusConnection | undefined> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        return await connectBus({ ...options, signal });
      } catch (error) {
        if (signal.aborted) break;
        telemetry.log.error({ error: messageOf(error) }, 'works without the bus, and tries again');
        await delay(retryMs, undefined, { signal }).catch(() => {}); // the only failure is that it was stopped
      }
    }
    return undefined;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
  }

  async close(): Promise<void> {
    await (await this.#connecting)?.close();
  }
}
