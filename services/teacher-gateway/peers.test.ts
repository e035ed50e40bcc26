import { peersSubject } from '@understudy/contract';
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
  [a, b, c] = ['a', 'b', 'c'].map((id) => new Peers(bus.bus, id)) as [Peers, Peers, Peers];
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(async () => {
  for (const peers of [a, b, c]) await peers[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
});

const heard = (by: Peers, question: string) => expect.poll(() => by.askElsewhere(question), { interval: 5 }).toBe(true);

test('who claims later leaves the question to who claimed first, whatever their ids', async () => {
  b.claim('one');
  await heard(a, 'one');
  a.claim('one');
  c.claim('one');
  await heard(c, 'one');
  expect([a, b, c].map((peers) => peers.askElsewhere('one'))).toEqual([true, false, true]);
});

test('of those who claim at once one asks, and the others know', async () => {
  for (const peers of [c, a, b]) peers.claim('two');
  await heard(b, 'two');
  await heard(c, 'two');
  expect([a, b, c].map((peers) => peers.askElsewhere('two'))).toEqual([false, true, true]);
});

test('a question nobody else claimed is asked', () => {
  a.claim('three');
  expect(a.askElsewhere('three')).toBe(false);
});

test('who stops leaves its questions to the others at once', async () => {
  const stopping = new Peers(bus.bus, '0');
  stopping.claim('five');
  await heard(a, 'five');
  await stopping[Symbol.asyncDispose]();
  await expect.poll(() => a.askElsewhere('five'), { interval: 5 }).toBe(false);
});

test('the claim of one that died ends', async () => {
  bus.bus.nc.publish(`${peersSubject(bus.bus.naming, 'teacher-gateway')}.0`, 'four');
  await heard(a, 'four');
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + CLAIM_MS + 1);
  expect(a.askElsewhere('four')).toBe(false);
  a.claim('four');
  vi.restoreAllMocks();
  await heard(b, 'four');
});

test('many claims at once go in messages that the bus takes', async () => {
  const questions = Array.from({ length: 12_000 }, (_, i) => `${'q'.repeat(130)} ${i}`);
  for (const question of questions) a.claim(question);
  await heard(b, questions.at(-1)!);
  expect(questions.every((question) => b.askElsewhere(question))).toBe(true);
});
