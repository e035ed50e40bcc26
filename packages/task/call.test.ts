import fc from 'fast-check';
import { expect, test } from 'vitest';
import { insideFrame, readCall, templateFrame, workloadId, workloadsOfTask } from './call.ts';
import { parseTask } from './validate.ts';

const schema = { type: 'object', properties: { label: { enum: ['a', 'b'] } } };
const format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } };
const system = { role: 'system', content: 'Sort.' };
const user = { role: 'user', content: 'text' };
const call = { model: 'm', messages: [system, user], response_format: format };
const tool = { type: 'function', function: { name: 'sort', parameters: schema } };

test('a call says its prompt, its schema and its input', () => {
  const plain = { model: 'm', system: 'Sort.', schema, tool: undefined, user: 'text', obstacle: undefined };
  expect(readCall(call)).toEqual(plain);
  expect(readCall({ ...call, temperature: 1, stream: true, n: 1, stop: null, logprobs: false })).toEqual(plain);
  const inParts = {
    role: 'developer',
    content: [
      { type: 'text', text: 'So' },
      { type: 'text', text: 'rt.' },
    ],
  };
  expect(readCall({ ...call, messages: [inParts, user] })).toEqual(plain);
  expect(readCall({ model: 'm', messages: [user] })).toEqual({ ...plain, system: '', schema: undefined });
});

test('a function that must be called is a schema too', () => {
  const { response_format: _, ...bare } = call;
  const forced = { type: 'function', function: { name: 'sort' } };
  const other = { type: 'function', function: { name: 'other', parameters: {} } };
  for (const choice of [
    { tools: [other, tool], tool_choice: forced },
    { tools: [tool], tool_choice: 'required' },
  ])
    expect(readCall({ ...bare, ...choice })).toMatchObject({ schema, tool: 'sort', user: 'text', obstacle: undefined });
  for (const choice of [
    { tools: [tool] },
    { tools: [tool], tool_choice: 'auto' },
    { tools: [tool, other], tool_choice: 'required' },
    { tools: [other], tool_choice: forced },
    { tools: [tool], tool_choice: forced, response_format: format },
  ])
    expect(readCall({ ...bare, ...choice }), JSON.stringify(choice)).toMatchObject({ obstacle: 'options' });
});

test.each([
  ['conversation', { messages: [system, user, { role: 'assistant', content: 'a' }, user] }],
  ['conversation', { messages: [system, system, user] }],
  ['conversation', { messages: [system] }],
  ['conversation', { messages: [] }],
  ['conversation', { messages: [system, { role: 'tool', content: 'x' }] }],
  ['not-text', { messages: [system, { role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }],
  ['not-text', { messages: [{ role: 'system', content: null }, user] }],
  ['options', { n: 2 }],
  ['options', { logprobs: true }],
  ['options', { stop: ['}'] }],
  ['options', { modalities: ['audio'] }],
  ['options', { something_new: {} }],
])('%s: a student does not answer %j', (obstacle, change) => {
  expect(readCall({ ...call, ...change })).toMatchObject({ obstacle, system: expect.stringMatching(/^(Sort\.|)/) });
});

test('anything at all is read or refused, never thrown at', () => {
  for (const garbage of [undefined, null, 1, 'x', [], {}, { model: 1, messages: [] }, { model: 'm', messages: {} }])
    expect(readCall(garbage)).toBeUndefined();
  const messages = fc.array(fc.oneof(fc.jsonValue(), fc.record({ role: fc.string(), content: fc.jsonValue() })));
  fc.assert(
    fc.property(
      messages,
      fc.jsonValue(),
      fc.jsonValue(),
      fc.jsonValue(),
      (list, response_format, tools, tool_choice) => {
        readCall({ model: 'm', messages: list, response_format, tools, tool_choice });
      },
    ),
  );
});

test('a workload is its prompt and schema, however the schema is written down', () => {
  const shuffled = { properties: schema.properties, type: 'object' };
  expect(workloadId('Sort.', shuffled)).toBe(workloadId('Sort.', schema));
  const others = [
    workloadId('sort.', schema),
    workloadId('Sort.', { ...schema, title: 'x' }),
    workloadId('Sort.', undefined),
  ];
  expect(new Set([...others, workloadId('Sort.', schema)]).size).toBe(4);
});

test('a frame gives back what was put into it', () => {
  expect(templateFrame('{{a}} {{b}}')).toBeUndefined();
  expect(templateFrame('no field')).toBeUndefined();
  const frame = templateFrame('Mail:\n{{ text }}\nEnd')!;
  expect(frame).toEqual({ prefix: 'Mail:\n', field: 'text', suffix: '\nEnd' });
  expect(insideFrame(frame, 'Mail:\nhello\nEnd')).toBe('hello');
  for (const text of ['hello', 'Mail:\nhello', 'Mail:\nEnd']) expect(insideFrame(frame, text)).toBeUndefined();
  expect(insideFrame(templateFrame('{{text}}')!, 'as it is')).toBe('as it is');
});

test('a task that matches calls must be able to take its input out of a message', () => {
  const task = (fields: string[], template: string, change: object = {}) =>
    JSON.stringify({
      name: 'sort',
      input: { fields },
      prompt: { instructions: 'Sort.', template, maxCharacters: 100 },
      output: { schema: { ...schema, required: ['label'], additionalProperties: false } },
      teacher: { kind: 'nats', subject: 'models.x', model: 'x' },
      budget: { calls: 1, usd: 0 },
      goal: { agreement: 0.9 },
      matchCalls: true,
      ...change,
    });
  const own = workloadId('Sort.', { ...schema, required: ['label'], additionalProperties: false });
  expect(workloadsOfTask(parseTask(task(['text'], 'Text: {{text}}')))).toEqual([own]);
  expect(workloadsOfTask(parseTask(task(['text'], '{{text}}', { matchCalls: false })))).toEqual([]);
  const listed = ['a'.repeat(64), 'b'.repeat(64)];
  expect(workloadsOfTask(parseTask(task(['text'], '{{text}}', { matchCalls: listed })))).toEqual(listed);
  const properties = { label: { enum: ['a', 'b'] }, note: { type: 'string' } };
  const plain = { type: 'object', properties, required: ['label', 'note'], additionalProperties: false };
  const left = { ...plain, properties: { ...properties, note: { type: 'string', 'x-left-to': 'teacher' } } };
  const extended = { ...parseTask(task(['text'], '{{text}}')), output: { schema: left } };
  expect(workloadsOfTask(extended)).toEqual([workloadId('Sort.', plain)]);
  for (const template of ['{{text}} {{text}}', '{{text}}{{other}}'])
    expect(() => parseTask(task(template.includes('other') ? ['text', 'other'] : ['text'], template))).toThrow(
      'matchCalls',
    );
});
