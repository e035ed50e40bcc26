import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { asyncApi, asyncApiPath } from './asyncapi.ts';
import {
  ceTypeOf,
  consumerSubjects,
  parseCeType,
  storeNameOf,
  streamNames,
  streamSubjects,
  subjectOf,
} from './subjects.ts';
import { type ConsumerName, type ConsumerSpec, consumers, type EventType, events } from './table.ts';

const plain = { prefix: '' };

test('subjects have the type first, then the teacher of a prompt, then the task; a prefix goes before', () => {
  expect(subjectOf(plain, 'eval.passed', 'email-triage')).toBe('eval.passed.email-triage');
  expect(subjectOf(plain, 'prompt.submitted', 'email-triage', 'nats')).toBe('prompt.submitted.nats.email-triage');
  expect(subjectOf({ prefix: 'acme.ml' }, 'eval.passed', 't')).toBe('acme.ml.eval.passed.t');
  expect(storeNameOf({ prefix: 'acme.ml' }, 'FACTS')).toBe('acme-ml-FACTS');
});

test.each(['', 'a.b', 'a b', '*', '>', 'Å', 'A', 'x'.repeat(65)])('the task %j makes no subject', (task) => {
  expect(() => subjectOf(plain, 'eval.passed', task)).toThrow(RangeError);
});

test('a prompt without a kind of teacher has no subject', () => {
  expect(() => subjectOf(plain, 'prompt.submitted', 'email-triage')).toThrow(/teacher/);
});

test('event types survive their way through ce-type; strangers do not', () => {
  for (const type of Object.keys(events) as EventType[]) {
    expect(parseCeType(ceTypeOf(type))).toEqual({ type, version: events[type].version });
  }
  for (const stranger of [
    '',
    'understudy.eval.passed',
    'understudy.eval.passed.v0',
    'understudy.constructor.v1',
    'eval.passed.v1',
  ]) {
    expect(parseCeType(stranger)).toBeUndefined();
  }
});

test('every event has one stream, and every consumer reads types of its own stream only', () => {
  const patterns = streamNames.flatMap((stream) => streamSubjects(plain, stream));
  expect(new Set(patterns).size).toBe(patterns.length);
  expect(patterns.length).toBe(Object.keys(events).length);
  for (const [name, spec] of Object.entries(consumers) as [ConsumerName, ConsumerSpec][]) {
    for (const type of spec.types) expect(events[type].stream, name).toBe(spec.stream);
    expect(consumerSubjects(plain, name).length).toBe(spec.types.length);
  }
});

test('consumers of the work queue do not overlap', () => {
  const filters = (Object.keys(consumers) as ConsumerName[])
    .filter((name) => consumers[name].stream === 'PROMPTS')
    .flatMap((name) => consumerSubjects(plain, name));
  expect(new Set(filters).size).toBe(filters.length);
});

test('asyncapi.json is what the table says', () => {
  expect(JSON.parse(readFileSync(asyncApiPath, 'utf8'))).toEqual(JSON.parse(JSON.stringify(asyncApi())));
});
