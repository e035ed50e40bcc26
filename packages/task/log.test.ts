import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileTask } from './compile.ts';
import { readLogged } from './log.ts';
import { labelSchema, testTask } from './testing.ts';

const taskWith = (fields: string[], template: string, examples: unknown[] = []) =>
  compileTask(
    testTask({
      input: { fields },
      prompt: { instructions: 'Sort the mail.', template, maxCharacters: 5_000 },
      examples,
    }),
  );
const mail = taskWith(['subject', 'text'], 'Subject: {{subject}}\n\n{{text}}');
const plain = taskWith(['text'], '{{text}}');

const system = { role: 'system', content: 'Sort the mail.' };
const requestOf = (user: unknown, change = {}) => ({
  model: 'big',
  messages: [system, { role: 'user', content: user }],
  ...change,
});
const responseOf = (content: unknown, change = {}) => ({
  id: 'r1',
  model: 'big-2026-01-01',
  created: 1_760_000_000,
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content } }],
  usage: { prompt_tokens: 12, completion_tokens: 4 },
  ...change,
});
const logged = (user: unknown, content: unknown = '{"label":"spam"}') => ({
  timestamp: 1_760_000_001,
  workload_id: 'w',
  client_id: 'c',
  request: requestOf(user),
  response: responseOf(content),
});
const faultOf = (record: unknown, task = plain) => {
  const read = readLogged(task, record);
  return read.ok ? 'none' : read.fault;
};

describe('a record of a log', () => {
  it('is a pair: its input recovered by the template, its answer as the task writes it, under the model that it names', () => {
    const read = readLogged(mail, logged('Subject: hi\n\nlunch\n\nat noon?', '```json\n{ "label": "ham" }\n```'));
    expect(read).toMatchObject({
      ok: true,
      pair: {
        ...mail.renderPrompt({ subject: 'hi', text: 'lunch\n\nat noon?' }),
        answerJson: '{"label":"ham"}',
        model: 'big-2026-01-01',
        answeredAtMs: 1_760_000_001_000,
        inputTokens: 12,
        outputTokens: 4,
      },
    });
  });

  it.each([
    [
      'a provider’s batch file',
      {
        custom_id: 'x',
        request: { body: requestOf('a') },
        response: { status_code: 200, body: responseOf('{"label":"ham"}') },
      },
    ],
    ['a stored completion', { ...responseOf('{"label":"ham"}'), messages: requestOf('a').messages }],
    ['content in parts', logged([{ type: 'text', text: 'a' }])],
    ['fields as JSON', logged('{"text": "a"}')],
    [
      'a forced tool',
      {
        request: requestOf('a', {
          tools: [{ type: 'function', function: { name: 'sort', parameters: labelSchema(['ham', 'spam']) } }],
          tool_choice: 'required',
        }),
        response: responseOf(null, {
          choices: [{ message: { tool_calls: [{ function: { name: 'sort', arguments: '{"label":"ham"}' } }] } }],
        }),
      },
    ],
  ])('is read as %s', (_, record) => {
    expect(readLogged(plain, record)).toMatchObject({ ok: true, pair: plain.renderPrompt({ text: 'a' }) });
  });

  it('may show the task’s own examples before its message', () => {
    const task = taskWith(['text'], '{{text}}', [{ input: { text: 'shown' }, output: { label: 'ham' } }]);
    const turns = (text: string) => [
      { role: 'user', content: text },
      { role: 'assistant', content: '{"label":"ham"}' },
    ];
    const record = (text: string) => ({
      request: { model: 'm', messages: [system, ...turns(text), { role: 'user', content: 'a' }] },
      response: responseOf('{"label":"ham"}'),
    });
    expect(faultOf(record('shown'), task)).toBe('none');
    expect(faultOf(record('another'), task)).toBe('conversation');
  });

  it.each<[string, unknown]>([
    ['not-a-call', 'text'],
    ['not-a-call', { request: { prompt: 'x' }, response: responseOf('x') }],
    ['failed-call', { request: requestOf('a'), response: { error: { message: 'overloaded' } } }],
    ['failed-call', { request: { body: requestOf('a') }, response: { status_code: 500, body: responseOf('x') } }],
    [
      'other-prompt',
      {
        request: {
          model: 'm',
          messages: [
            { role: 'system', content: 'Translate.' },
            { role: 'user', content: 'a' },
          ],
        },
        response: responseOf('x'),
      },
    ],
    [
      'conversation',
      {
        request: {
          model: 'm',
          messages: [
            system,
            { role: 'user', content: 'a' },
            { role: 'assistant', content: 'b' },
            { role: 'user', content: 'c' },
          ],
        },
        response: responseOf('x'),
      },
    ],
    ['not-text', logged([{ type: 'image_url', image_url: { url: 'x' } }])],
    [
      'several-answers',
      {
        request: requestOf('a'),
        response: responseOf('x', { choices: [{ message: { content: 'x' } }, { message: { content: 'y' } }] }),
      },
    ],
    ['no-answer', { request: requestOf('a'), response: responseOf('x', { choices: [] }) }],
    ['no-answer', logged('a', null)],
    [
      'cut-off',
      {
        request: requestOf('a'),
        response: responseOf('x', { choices: [{ finish_reason: 'length', message: { content: '{"la' } }] }),
      },
    ],
    [
      'refused',
      {
        request: requestOf('a'),
        response: responseOf('x', { choices: [{ message: { content: null, refusal: 'no' } }] }),
      },
    ],
    ['invalid-answer', logged('a', 'It is spam.')],
    ['invalid-answer', logged('a', '{"label":"eggs"}')],
  ])('that is no pair says why: %s', (fault, record) => {
    expect(faultOf(record)).toBe(fault);
  });

  it('whose message the template cannot have made is no pair of a task with several fields', () => {
    expect(faultOf(logged('lunch at noon?'), mail)).toBe('other-input');
    expect(faultOf(logged('{"subject":"a","text":"b","more":"c"}'), mail)).toBe('other-input');
  });

  it('never has a fingerprint that the task’s own teacher could have', () => {
    const read = readLogged(plain, logged('a'));
    expect(read.ok && read.pair.fingerprint).not.toBe(plain.fingerprint({ model: 'big-2026-01-01' }));
  });

  it('gives back any input that a template made', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 60 });
    fc.assert(
      fc.property(text, text, (subject, body) => {
        const prompt = mail.renderPrompt({ subject, text: body });
        const read = readLogged(mail, logged(prompt.text));
        // A subject with an empty line in it ends there: the message is given back, if not the fields.
        expect(read.ok && read.pair.text.trim()).toBe(prompt.text.trim());
      }),
    );
  });

  it('may be anything, and never throws', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (request, response) => void readLogged(mail, { request, response })),
    );
    fc.assert(fc.property(fc.anything(), (content) => void readLogged(mail, logged(content, content))));
  });
});
