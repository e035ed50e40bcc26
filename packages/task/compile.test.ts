import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileTask, pairId, parseTask, type Task, taskDigest, taskJson } from './index.ts';
import { labelSchema } from './testing.ts';

const rawTask = {
  name: 'triage',
  input: { fields: ['subject', 'text'] },
  prompt: { instructions: 'Sort mail.', template: 'S: {{subject}}\n{{ text }}', maxCharacters: 20 },
  output: { schema: labelSchema(['ham', 'spam']) },
  teacher: { kind: 'openai', baseUrl: 'http://127.0.0.1:1/v1', model: 'm' },
  budget: { calls: 10, usd: 0 },
  goal: { agreement: 0.9 },
};

const taskWith = (change: Record<string, unknown>): Task => parseTask(JSON.stringify({ ...rawTask, ...change }));
const task = taskWith({});
const compiled = compileTask(task);
/** Any UTF-16, lone surrogates and U+0000 included. */
const anyString = fc
  .string({ unit: 'binary' })
  .chain((text) =>
    fc.constantFrom(text, `${text}\u0000`, `\ud800${text}`, ` \u0065\u0301${text}\u00a0`, `\u0301${text}`),
  );

test('a tolerance and what is left to the teacher change no answer, and so no fingerprint', () => {
  const fingerprintOf = (score: object) => {
    const { schema } = rawTask.output;
    const properties = { ...schema.properties, score: { type: ['number', 'null'], minimum: 0, maximum: 1, ...score } };
    const changed = { schema: { ...schema, properties } };
    return compileTask(taskWith({ output: changed })).fingerprint({ model: 'm' });
  };
  const plain = fingerprintOf({});
  expect(fingerprintOf({ 'x-tolerance': 0.3 })).toBe(plain);
  expect(fingerprintOf({ 'x-left-to': 'teacher' })).toBe(plain);
  expect(fingerprintOf({ maximum: 2 })).not.toBe(plain);
});

describe('canonical input', () => {
  test('is idempotent, well-formed, normalised and trimmed', () => {
    fc.assert(
      fc.property(anyString, anyString, (subject, text) => {
        const once = compiled.canonicalInput({ text, subject });
        expect(compiled.canonicalInput(once)).toEqual(once);
        expect(Object.keys(once)).toEqual(['subject', 'text']);
        for (const value of Object.values(once)) {
          expect(value.isWellFormed()).toBe(true);
          expect(value).not.toContain('\0');
          expect(value.normalize('NFC').trim()).toBe(value);
        }
      }),
    );
  });

  test('gives one id for all spellings of an input, and other ids for other inputs and tasks', () => {
    fc.assert(
      fc.property(anyString, anyString, (subject, text) => {
        const id = compiled.promptId({ subject, text });
        expect(id).toMatch(/^[0-9a-f]{64}$/);
        expect(compiled.promptId({ text: ` ${text}\n`, subject: subject.toWellFormed().normalize('NFD') })).toBe(id);
        expect(compiled.renderPrompt({ subject, text }).promptId).toBe(id);
        expect(compiled.promptId({ subject, text: `${text}x` })).not.toBe(id);
        expect(compileTask(taskWith({ name: 'other' })).promptId({ subject, text })).not.toBe(id);
      }),
    );
  });

  test('keeps its ids over versions of this code: stored pairs are found by them', () => {
    expect(compiled.renderPrompt({ subject: 'Hé', text: 'you' })).toEqual({
      promptId: 'e11894844952bdb071d1ab8a7a14eeaaa9f589ac2146c7e85b4daebca56752d2',
      inputJson: '{"subject":"Hé","text":"you"}',
      text: 'S: Hé\nyou',
    });
  });

  test.each([
    [{ subject: 'a' }, 'missing-field', 'text'],
    [{ subject: 'a', text: 1 }, 'not-a-string', 'text'],
    [{ subject: 'a', text: null }, 'not-a-string', 'text'],
    [{ subject: 'a', text: 'b', extra: 'c' }, 'unknown-field', 'extra'],
    [['a'], 'not-an-object', undefined],
    [null, 'not-an-object', undefined],
    [Object.create({ subject: 'inherited', text: 'inherited' }), 'missing-field', 'subject'],
  ])('refuses %j as %s', (input, reason, field) => {
    expect(() => compiled.canonicalInput(input)).toThrow(expect.objectContaining({ reason, field }));
  });

  test('refuses a prompt over the size limit, counted in bytes of its canonical text', () => {
    const fits = 'é'.repeat((256 * 1024 - 40) / 2);
    expect(compiled.canonicalInput({ subject: '', text: fits }).text).toBe(fits);
    expect(() => compiled.canonicalInput({ subject: '', text: `${fits}${'é'.repeat(20)}` })).toThrow(
      /prompt over the size limit.*expected at most 262144/,
    );
  });
});

describe('rendered text', () => {
  test('is cut to code points and stays well-formed', () => {
    fc.assert(
      fc.property(anyString, anyString, (subject, text) => {
        const rendered = compiled.renderText(compiled.canonicalInput({ subject, text }));
        const whole = `S: ${compiled.canonicalInput({ subject, text }).subject}\n${compiled.canonicalInput({ subject, text }).text}`;
        expect(rendered).toBe([...whole].slice(0, 20).join(''));
      }),
    );
  });

  test('takes field values as they are, also where they look like a placeholder', () => {
    expect(compiled.renderText({ subject: '{{text}}', text: "$&$'" })).toBe("S: {{text}}\n$&$'");
  });

  test('is refused instead of cut where the task says so', () => {
    const whole = compileTask(taskWith({ prompt: { ...rawTask.prompt, truncate: false } }));
    expect(whole.renderText({ subject: '', text: 'x'.repeat(16) })).toHaveLength(20);
    expect(() => whole.renderText({ subject: '', text: 'x'.repeat(17) })).toThrow(/over prompt.maxCharacters \(20\)/);
  });
});

describe('digests', () => {
  test('of a task survive the wire and change with the task', () => {
    expect(taskDigest(parseTask(taskJson(task)))).toBe(taskDigest(task));
    expect(taskDigest(taskWith({ description: 'x' }))).not.toBe(taskDigest(task));
    const reordered = Object.fromEntries(Object.entries(rawTask).toReversed());
    expect(taskDigest(parseTask(JSON.stringify(reordered)))).toBe(taskDigest(task));
  });

  test('of a fingerprint change with everything that shapes an answer, and with nothing else', () => {
    const teacherModel = { model: 'm-2026-01-01', version: 'fp_1' };
    const base = compiled.fingerprint(teacherModel);
    expect(compileTask(taskWith({ budget: { calls: 99, usd: 3 } })).fingerprint(teacherModel)).toBe(base);
    const changed = [
      compiled.fingerprint({ model: 'm-2026-01-01', version: 'fp_2' }),
      compiled.fingerprint({ model: 'm-2026-01-01' }),
      ...[
        { prompt: { ...rawTask.prompt, instructions: 'Sort.' } },
        { prompt: { ...rawTask.prompt, maxCharacters: 21 } },
        { examples: [{ input: { subject: 'a', text: 'b' }, output: { label: 'ham' } }] },
        { teacher: { ...rawTask.teacher, temperature: 1 } },
        { teacher: { ...rawTask.teacher, epoch: 1 } },
      ].map((change) => compileTask(taskWith(change)).fingerprint(teacherModel)),
    ];
    expect(new Set([base, ...changed]).size).toBe(changed.length + 1);
  });

  test('of a pair depend on each of its three parts', () => {
    const ids = [pairId('a', 'b', 0), pairId('a', 'b', 1), pairId('a', 'c', 0), pairId('c', 'b', 0)];
    expect(new Set(ids).size).toBe(4);
  });
});
