import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type TestBus, testBus } from '@understudy/service/testing';
import { pythonForOpenAi } from '@understudy/student/testing-python';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deploy, LABELS, TestGateway, taskOf, temporaryFolder } from '../testing.ts';
import { FakeUpstream, sendCompletion, valuesOf } from './testing.ts';

/** What a Python program sees: every way of calling, and every way of failing, of the official client. */
const PROGRAM = `
import asyncio, json, sys, openai
base_url, schema = sys.argv[1], json.loads(sys.argv[2])
client = openai.OpenAI(base_url=base_url, api_key="sk-of-python", max_retries=0)
seen = {"errors": {}}
ask = dict(model="large", messages=[{"role": "user", "content": "hi é"}])
raw = client.chat.completions.with_raw_response.create(**ask)
seen["passed"] = raw.parse().choices[0].message.content
seen["request_id"] = raw.headers.get("x-request-id")
stream = client.chat.completions.create(**{**ask, "model": "stream"}, stream=True)
seen["streamed"] = [chunk.choices[0].delta.content for chunk in stream]
async def later():
    other = openai.AsyncOpenAI(base_url=base_url, api_key="sk-of-python", max_retries=0)
    return (await other.chat.completions.create(**ask)).choices[0].message.content
seen["async"] = asyncio.run(later())
for status in (400, 401, 403, 404, 409, 422, 429, 500):
    try:
        client.chat.completions.create(**{**ask, "model": f"status-{status}"})
    except openai.APIStatusError as error:
        seen["errors"][type(error).__name__] = [error.status_code, error.code, error.response.headers.get("retry-after")]
try:
    list(client.chat.completions.create(**{**ask, "model": "dies"}, stream=True))
except Exception as error:
    seen["died"] = type(error).__name__
try:
    client.chat.completions.create(model="help-desk", messages=[])
except openai.BadRequestError as error:
    seen["own_error"] = error.param
messages = [{"role": "system", "content": "Say what this message to a help desk is about."}, {"role": "user", "content": "the parcel never came"}]
structured = dict(model="large", messages=messages, response_format={"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}})
matched = client.chat.completions.with_raw_response.create(**structured)
seen["matched"] = [matched.parse().choices[0].message.content, matched.headers.get("x-understudy-answerer")]
with client.chat.completions.stream(**structured) as events:
    seen["matched_stream"] = events.get_final_completion().choices[0].message.content
seen["models"] = sorted(model.id for model in client.models.list())
print(json.dumps(seen))
`;

const output = { topic: { enum: [...LABELS] } };
const schema = { type: 'object', properties: output, required: ['topic'], additionalProperties: false };

let bus: TestBus;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let upstream: FakeUpstream;
let gateway: TestGateway;
let python: Awaited<ReturnType<typeof pythonForOpenAi>>;
beforeAll(async () => {
  [bus, folder, upstream, python] = await Promise.all([
    testBus(),
    temporaryFolder(),
    FakeUpstream.start(),
    pythonForOpenAi(),
  ]);
  gateway = await TestGateway.start(bus.server.url, folder.path, { UPSTREAM_BASE_URL: upstream.baseUrl });
  await deploy(bus.bus, gateway.blobs, { task: taskOf('help-desk', { matchCalls: true }), generation: 1, seed: 7 });
  await gateway.serves('help-desk', 1);
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const events = (...parts: string[]) =>
  parts.map((content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`).join('');

test('the official client for Python works unchanged, errors included', async (context) => {
  if ('missing' in python) {
    process.stderr.write(`${python.missing}\n`);
    return context.skip(python.missing);
  }
  upstream.script = ({ url, body }, response) => {
    if (url === '/v1/models') return response.end('{"object":"list","data":[{"id":"large","object":"model"}]}');
    const { model } = JSON.parse(body.toString());
    const status = Number(/^status-(\d+)$/.exec(model)?.[1] ?? 200);
    response.setHeader('x-request-id', 'req_7');
    if (status !== 200) {
      const error = { message: 'no', type: 't', param: null, code: `code_${status}` };
      return response
        .writeHead(status, { 'retry-after': '7', 'content-type': 'application/json' })
        .end(JSON.stringify({ error }));
    }
    if (model === 'large') return sendCompletion(response, 'hello');
    response.setHeader('content-type', 'text/event-stream');
    if (model === 'stream') return response.end(`${events('he', 'llo')}data: [DONE]\n\n`);
    response.write(events('he'));
    return setImmediate(() => response.destroy());
  };
  const { stdout } = await promisify(execFile)(python.python, [
    '-c',
    PROGRAM,
    `${gateway.url}/v1`,
    JSON.stringify(schema),
  ]);
  expect(JSON.parse(stdout)).toEqual({
    ...{ passed: 'hello', request_id: 'req_7', streamed: ['he', 'llo'], async: 'hello' },
    errors: {
      BadRequestError: [400, 'code_400', '7'],
      AuthenticationError: [401, 'code_401', '7'],
      PermissionDeniedError: [403, 'code_403', '7'],
      NotFoundError: [404, 'code_404', '7'],
      ConflictError: [409, 'code_409', '7'],
      UnprocessableEntityError: [422, 'code_422', '7'],
      RateLimitError: [429, 'code_429', '7'],
      InternalServerError: [500, 'code_500', '7'],
    },
    died: expect.stringMatching(/Error$/),
    own_error: 'messages',
    ...{ matched: ['{"topic":"parcel"}', 'student'], matched_stream: '{"topic":"parcel"}' },
    models: ['help-desk', 'large'],
  });
  const keys = new Set(upstream.received.flatMap(({ headers }) => valuesOf(headers, 'authorization')));
  expect([...keys]).toEqual(['Bearer sk-of-python']);
});
