import { setTimeout as delay } from 'node:timers/promises';
import type { BusConnection } from '@understudy/service/bus/connection';
import { type EncodedEvent, encodeEvent } from '@understudy/service/bus/event';
import type { Publisher } from '@understudy/service/bus/publish';
import { messageOf } from '@understudy/service/errors';
import type { Logger } from '@understudy/service/telemetry';
import {
  dropAlarmMs,
  maxBufferedCallBytes,
  maxBufferedRecords,
  maxRecordsInFlight,
  spillRetryMs,
  trafficFlushMs,
} from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import { bytesOf, eventOf, holdsPair, type TrafficRecord } from './record.ts';
import type { Spill } from './spill.ts';

/** Records encoded in one turn of the event loop, so that a full buffer does not hold up clients: about 1 ms. */
const recordsPerTurn = 32;
/** Records gather for so long and then leave in one write. */
const gatherMs = 5;

export interface RecorderOptions {
  spill: Spill;
  metrics: Metrics;
  log: Logger;
}

/**
 * Publishes what was observed, behind the clients' backs. No client ever waits for it: while the bus is slow or away,
 * records wait in a bounded buffer; those that find it full are dropped, counted and told of. Pairs that were paid for
 * go to disk instead.
 */
export class TrafficRecorder {
  readonly #options: RecorderOptions;
  #publisher: Publisher | undefined;
  #connected = false;
  #buffer: TrafficRecord[] = [];
  /** Of recorded calls in the buffer. */
  #bufferedBytes = 0;
  readonly #inFlight = new Set<TrafficRecord>();
  #scheduled = false;
  #emptying = false;
  #stopped = false;
  #idle: PromiseWithResolvers<void> | undefined;
  #droppedSinceAlarm = 0;
  #alarm: NodeJS.Timeout | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    options.metrics.trafficSpilledBytes.set(options.spill.bytes);
  }

  /** The bus is there, for the first time. */
  connect(bus: BusConnection, publisher: Publisher): void {
    this.#publisher = publisher;
    this.#connected = true;
    void this.#follow(bus);
    this.#schedule();
  }

  /** Takes one record; returns at once. */
  record(record: TrafficRecord): void {
    const room = this.#buffer.length < maxBufferedRecords && this.#bufferedBytes <= maxBufferedCallBytes;
    if (holdsPair(record) && !(room && this.#connected)) void this.#spill(encodeEvent(eventOf(record)));
    else if (room) {
      this.#buffer.push(record);
      this.#bufferedBytes += bytesOf(record);
    } else this.#drop(1);
    this.#schedule();
  }

  /** Publishes what is left, as far as the bus takes it in time; what holds a pair is kept on disk otherwise. */
  async stop(): Promise<void> {
    if (this.#connected && (this.#buffer.length > 0 || this.#inFlight.size > 0)) {
      this.#idle = Promise.withResolvers();
      const late = setTimeout(() => this.#idle?.resolve(), trafficFlushMs);
      await this.#idle.promise;
      clearTimeout(late);
    }
    this.#connected = false;
    this.#stopped = true;
    const left = [...this.#inFlight, ...this.#buffer.splice(0)];
    const pairs = left.filter(holdsPair);
    await Promise.all(pairs.map((record) => this.#spill(encodeEvent(eventOf(record)))));
    this.#drop(left.length - pairs.length);
    clearTimeout(this.#alarm);
    this.#sound();
  }

  async #follow(bus: BusConnection): Promise<void> {
    for await (const { type } of bus.nc.status()) {
      if (type !== 'disconnect' && type !== 'reconnect') continue;
      this.#connected = type === 'reconnect';
      this.#schedule();
    }
  }

  #schedule(): void {
    if (this.#scheduled || !this.#connected) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      this.#pump();
    }, gatherMs);
  }

  #pump(): void {
    const publisher = this.#publisher;
    if (!publisher || !this.#connected) return;
    const count = Math.min(recordsPerTurn, maxRecordsInFlight - this.#inFlight.size);
    for (const record of this.#buffer.splice(0, Math.max(count, 0))) {
      this.#bufferedBytes -= bytesOf(record);
      void this.#publish(publisher, record);
    }
    if (this.#buffer.length > 0 && this.#inFlight.size < maxRecordsInFlight) setImmediate(() => this.#pump());
    if (this.#buffer.length > 0 || this.#inFlight.size > 0) return;
    this.#idle?.resolve();
    if (this.#options.spill.bytes > 0) void this.#emptySpill(publisher);
  }

  async #publish(publisher: Publisher, record: TrafficRecord): Promise<void> {
    this.#inFlight.add(record);
    const event = encodeEvent(eventOf(record));
    try {
      await publisher.publishEncoded(event);
    } catch (error) {
      if (this.#stopped) return; // taken care of by then
      this.#options.log.warn({ error: messageOf(error) }, 'a traffic record was not stored');
      if (holdsPair(record)) await this.#spill(event);
      else this.#drop(1);
    } finally {
      this.#inFlight.delete(record);
      this.#schedule();
    }
  }

  async #spill(event: EncodedEvent): Promise<void> {
    const { spill, metrics, log } = this.#options;
    try {
      if (!(await spill.add(event))) this.#drop(1);
    } catch (error) {
      log.error({ error: messageOf(error) }, 'a pair cannot be kept on disk');
      this.#drop(1);
    }
    metrics.trafficSpilledBytes.set(spill.bytes);
  }

  async #emptySpill(publisher: Publisher): Promise<void> {
    if (this.#emptying) return;
    this.#emptying = true;
    const { spill, metrics, log } = this.#options;
    try {
      log.info(
        await spill.empty((event) => publisher.publishEncoded(event)),
        'pairs that waited on disk were published',
      );
    } catch (error) {
      log.error({ error: messageOf(error) }, 'pairs on disk were not published; they stay there');
      await delay(spillRetryMs, undefined, { ref: false });
    }
    this.#emptying = false;
    metrics.trafficSpilledBytes.set(spill.bytes);
  }

  #drop(count: number): void {
    if (count === 0) return;
    this.#options.metrics.trafficDropped.inc(count);
    this.#droppedSinceAlarm += count;
    this.#alarm ??= setTimeout(() => this.#sound(), dropAlarmMs);
  }

  #sound(): void {
    this.#alarm = undefined;
    const dropped = this.#droppedSinceAlarm;
    this.#droppedSinceAlarm = 0;
    if (dropped > 0) this.#options.log.error({ dropped }, 'traffic records were dropped: the bus is slow or away');
  }
}
