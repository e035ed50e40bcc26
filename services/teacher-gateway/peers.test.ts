import { claimsSubject } from '@understudy/contract';
import { type TestBus, testBus } from '@understudy/service/testing';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { CLAIM_MS } from './limits.ts';
import { Peers } from './peers.ts';

let bus: TestBus;
let a: Peers;
let b: Peers;
let c: Peers;
beforeAll(async () => {
  bus = await testBus();
  [a, b, c] = ['a', 'b', 'c'].map((id) => new Peers(bus.bus, bus.telemetry, id)) as [Peers, Peers, Peers];
  await Promise.all([a, b, c].map((peers) => peers.start()));
});
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(async () => {
  for (const peers of [a, b, c]) await peers[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
});

test('who claims later leaves the question to who claimed first', async () => {
  expect(await b.claim('one')).toBe(true);
  expect(await Promise.all([a.claim('one'), c.claim('one')])).toEqual([false, false]);
});

test('of those who claim at once exactly one asks, whoever is slow', async () => {
  const questions = Array.from({ length: 500 }, (_, i) => `at once ${i}`);
  const asked = await Promise.all(
    questions.map((question, i) =>
      Promise.all([a, b, c].toSorted(() => (i % 3) - 1).map((one) => one.claim(question))),
    ),
  );
  expect(asked.map((mine) => mine.filter(Boolean).length)).toEqual(questions.map(() => 1));
});

test('a question that is let go of without an answer is for others; with one they wait until it is stored', async () => {
  expect(await a.claim('declined')).toBe(true);
  a.release('declined', false);
  await expect.poll(() => b.claim('declined'), { interval: 5 }).toBe(true);
  expect(await a.claim('answered')).toBe(true);
  a.release('answered', true);
  expect(await b.claim('answered')).toBe(false);
  expect(await a.claim('answered')).toBe(true);
});

test('who claims, lets go and claims again waits for the later claim', async () => {
  expect(await a.claim('again')).toBe(true);
  a.release('again', false);
  const second = a.claim('again');
  expect(await Promise.all([second, b.claim('again')])).toEqual([true, false]);
});

test('a live request asks at once, and others leave the question to it', async () => {
  expect(a.announce('live')).toBe(true);
  // What is told later comes later.
  await a.claim('after that');
  expect(await b.claim('live')).toBe(false);
});

test('who comes later knows what was claimed before', async () => {
  expect(await a.claim('before')).toBe(true);
  await using late = new Peers(bus.bus, bus.telemetry, 'late');
  await late.start();
  expect(await late.claim('before')).toBe(false);
});

test('who stops leaves its questions to the others at once', async () => {
  const stopping = new Peers(bus.bus, bus.telemetry, '0');
  expect(await stopping.claim('five')).toBe(true);
  await stopping[Symbol.asyncDispose]();
  await expect.poll(() => a.claim('five'), { interval: 5 }).toBe(true);
});

test('the claim of one that died ends', async () => {
  bus.bus.nc.publish(`${claimsSubject(bus.bus.naming)}.0`, '1\nfour');
  await using heir = new Peers(bus.bus, bus.telemetry, 'heir');
  expect(await heir.claim('four')).toBe(false);
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + CLAIM_MS + 1);
  expect(await heir.claim('four')).toBe(true);
});

test('many claims at once go in messages that the bus takes', async () => {
  const questions = Array.from({ length: 12_000 }, (_, i) => `${'q'.repeat(130)} ${i}`);
  expect((await Promise.all(questions.map((question) => a.claim(question)))).every(Boolean)).toBe(true);
  expect(await b.claim(questions.at(-1)!)).toBe(false);
});
