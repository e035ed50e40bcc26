import { setTimeout as delay } from 'node:timers/promises';
import { testBus } from '@understudy/service/testing';
import { expect, test } from 'vitest';
import { Ledger } from './ledger.ts';

const concurrency = 5;
const { signal } = new AbortController();

/** Calls of one replica that begin as they may, and end when told. */
const caller = (ledger: Ledger) => {
  // None of its calls outlives it, and it could make all of them alone.
  const permits = ledger.permits('shared', { concurrency }, concurrency, 0);
  let [wanted, inFlight] = [0, 0];
  return {
    inFlight: () => inFlight,
    isServed: () => inFlight === wanted,
    begin: (calls: number) => {
      wanted += calls;
      for (let call = 0; call < calls; call += 1) permits.acquire(signal, 0).then(() => (inFlight += 1));
    },
    end: (calls: number) => {
      wanted -= calls;
      inFlight -= calls;
      for (let call = 0; call < calls; call += 1) permits.release();
    },
  };
};

const until = async (holds: () => boolean) => {
  while (!holds()) await delay(20);
};

test('a replica with one long call leaves the other places to one whose calls wait, and has its share again when its own do', async () => {
  await using bus = await testBus();
  const bucket = await bus.bus.bucket('ledger');
  const ledgers = [new Ledger(bucket, bus.telemetry.log), new Ledger(bucket, bus.telemetry.log)] as const;
  for (const ledger of ledgers) ledger.start();
  const [one, other] = [caller(ledgers[0]), caller(ledgers[1])];
  one.begin(concurrency);
  await until(one.isServed);
  other.begin(2 * concurrency);
  one.end(concurrency - 1);
  await until(() => other.inFlight() === concurrency - 1);
  expect(one.inFlight()).toBe(1);
  one.begin(1);
  while (!one.isServed()) {
    expect(one.inFlight() + other.inFlight()).toBeLessThanOrEqual(concurrency);
    if (other.inFlight() > concurrency - 2) other.end(1);
    await delay(20);
  }
  one.end(2);
  while (!other.isServed()) {
    if (other.inFlight() > 0) other.end(1);
    await delay(20);
  }
  other.end(other.inFlight());
  for (const ledger of ledgers) await ledger.close();
});
