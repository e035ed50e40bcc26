/** A canary for a key: servers repeat it in every way they can, and it is found nowhere that outlives the call. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { freePort } from '@understudy/service/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Stage, texts, until } from './testing.ts';

const key = 'sk-canary/5e1f+77"21';
/** As the gateway would write it in JSON, a URL or a header of another kind. */
const forms = [key, JSON.stringify(key).slice(1, -1), encodeURIComponent(key), Buffer.from(key).toString('base64')];

/** Says what it was sent, in a way that the path names. */
const echo = (): Server =>
  createServer(async (request, response) => {
    let asked = '';
    for await (const chunk of request) asked += chunk;
    const [, way, what] = request.url!.split('/');
    const said = what === 'input' ? (/Zebrafink \w+/.exec(asked)?.[0] ?? '') : JSON.stringify(request.headers);
    response.setHeader('x-request', encodeURIComponent(said));
    const choice = (content: string) => ({
      ...{ id: 'x', object: 'chat.completion', created: 1, usage: { prompt_tokens: 1, completion_tokens: 1 } },
      ...{ model: said, choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }] },
    });
    const message = { id: 'm', type: 'message', role: 'assistant', model: said, stop_reason: 'end_turn', usage: {} };
    const bodies: Record<string, [number, string]> = {
      '401': [401, JSON.stringify({ error: { message: `bad key: ${said}` } })],
      '500': [500, said],
      error: [200, JSON.stringify({ error: { message: said } })],
      content: [200, JSON.stringify(choice(said))],
      model: [200, JSON.stringify(choice('{"team":"billing"}'))],
      refusal: [
        200,
        JSON.stringify({ ...message, content: [], stop_reason: 'refusal', stop_details: { explanation: said } }),
      ],
      text: [200, JSON.stringify({ ...message, content: [{ type: 'text', text: said }] })],
      garbage: [200, `${said}{"`],
      redirect: [302, said],
    };
    const [status, body] = bodies[way!] ?? [404, said];
    if (way === 'redirect') response.setHeader('location', `http://${encodeURIComponent(said)}/`);
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });

let stage: Stage;
let server: Server;
beforeAll(async () => {
  stage = await Stage.start();
  server = echo();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
});
afterAll(async () => {
  server.close();
  await stage[Symbol.asyncDispose]();
});

const filesIn = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
};

/** Everything that every stream holds, KV buckets among them. */
const messages = async (): Promise<string[]> => {
  const { jsm } = stage.bus.bus;
  const all: string[] = [];
  for await (const { config, state } of jsm.streams.list()) {
    for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq += 1) {
      const message = await jsm.streams.getMessage(config.name, { seq });
      if (message) all.push(`${message.subject} ${message.header} ${message.string()}`);
    }
  }
  return all;
};
const allMessages = async (): Promise<string> => (await messages()).join('\n');

test('a key is in no event, log, stream, KV value, blob, span, recording, metric or argument, whatever a server repeats of it', async () => {
  const keyFile = join(stage.path, 'the.key');
  await writeFile(keyFile, `${key}\n`);
  const { port } = server.address() as AddressInfo;
  const [spans, recordings] = [await stage.folder(), join(stage.path, 'recordings')];
  const metricsPort = await freePort();
  const { process: gateway } = await stage.gateway({
    ...{ TEACHER_KINDS: 'openai,anthropic', TRACES_DIR: spans.path, TRACE_PROMPTS_RATIO: '1', LOG_LEVEL: 'trace' },
    ...{ TEACHER_RECORD_TO: recordings, METRICS_PORT: String(metricsPort), CANARY_KEY: key },
  });
  let log = '';
  gateway.child.stdout!.on('data', (chunk) => {
    log += String(chunk);
  });

  const ways = {
    openai: ['401', '500', 'error', 'content', 'model', 'garbage', 'redirect'],
    anthropic: ['401', '500', 'error', 'text', 'refusal', 'garbage', 'redirect'],
  };
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  let asked = 0;
  for (const kind of ['openai', 'anthropic'] as const) {
    for (const [index, way] of ways[kind].entries()) {
      const place = index % 2 === 0 ? { apiKeyEnv: 'CANARY_KEY' } : { apiKeyFile: keyFile };
      const teacher = { kind, model: 'm', baseUrl: `http://127.0.0.1:${port}/${way}`, ...place, maxRetries: 1 };
      const task = await stage.apply({ name: `canary-${kind}-${way}`, teacher });
      // What is asked shares no word with what a server repeats, so that its words are told to everybody.
      await stage.submit(task, 'run-canary', texts(1, `way ${way}`), { traceparent });
      asked += 1;
    }
  }
  // Who refuses the credentials is asked again when a person has mended that: those prompts wait, and KV says why.
  await stage.outcomes('run-canary', asked - 2);
  await until(async () => (await allMessages()).split('bad key').length > 2);
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const cmdline = await readFile(`/proc/${gateway.child.pid}/cmdline`, 'utf8');
  await gateway.kill('SIGTERM');

  const kept: [string, string][] = [
    ['streams', await allMessages()],
    ['log', log],
    ['metrics', metrics],
    ['cmdline', cmdline],
  ];
  for (const file of await filesIn(stage.path)) if (file !== keyFile) kept.push([file, await readFile(file, 'latin1')]);
  // The canary was sung: what was repeated of the request is there, without the key.
  const all = kept.map(([, text]) => text).join('\n');
  expect(all.split('Bearer [key]').length).toBeGreaterThan(10);
  expect(log).toContain('canary');
  expect(kept.map(([name]) => name).filter((name) => /recordings|spans-|blobs/.test(name)).length).toBeGreaterThan(10);
  for (const [name, text] of kept)
    for (const form of forms) expect(text.includes(form), `${form} in ${name}`).toBe(false);
});

test('an input is in no log, whatever a teacher repeats of it as it declines', async () => {
  const { port } = server.address() as AddressInfo;
  const { process: gateway } = await stage.gateway({ TEACHER_KINDS: 'openai,anthropic', CANARY_KEY: key });
  let log = '';
  gateway.child.stdout!.on('data', (chunk) => {
    log += String(chunk);
  });
  const ways = [
    ['openai', 'content'],
    ['anthropic', 'text'],
    ['anthropic', 'refusal'],
    ['openai', '500'],
    ['openai', 'error'],
    ['anthropic', 'error'],
  ] as const;
  for (const [kind, way] of ways) {
    const teacher = {
      kind,
      model: 'm',
      baseUrl: `http://127.0.0.1:${port}/${way}/input`,
      apiKeyEnv: 'CANARY_KEY',
      maxRetries: 1,
    };
    const task = await stage.apply({ name: `quoted-${kind}-${way}`, teacher });
    await stage.submit(task, 'run-quoted', texts(1, `Zebrafink ${way}`));
  }
  await stage.outcomes('run-quoted', ways.length);
  await until(() => log.split('"msg":"declined"').length > ways.length);
  // Who refuses the credentials declines nothing: why is told in KV, and to every replica.
  const teacher = {
    kind: 'openai',
    model: 'm',
    baseUrl: `http://127.0.0.1:${port}/401/input`,
    apiKeyEnv: 'CANARY_KEY',
  };
  await stage.submit(await stage.apply({ name: 'quoted-as-refused', teacher }), 'run-kept', texts(1, 'Zebrafink kept'));
  const told = async () => (await messages()).filter((message) => message.startsWith('$KV.'));
  await until(async () => (await told()).some((message) => message.includes('in words of what it was asked')));
  await until(() => log.includes('alarm: the teacher fails'));
  expect((await told()).filter((message) => message.includes('Zebrafink'))).toEqual([]);
  await gateway.kill('SIGTERM');
  // It was quoted: what is told of the run has it, until it is forgotten.
  expect(stage.declinedIn('run-quoted').filter(({ detail }) => detail.includes('Zebrafink'))).toHaveLength(ways.length);
  expect(log).not.toContain('Zebrafink');
});
