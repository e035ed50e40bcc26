/** A provider's files and batches: kept in memory, answered when they are looked at, held up on demand. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answerOf } from './answers.ts';
import { tokensPerCall } from './failures.ts';

/** A request that is never replied to: before it does anything, or when it is done. */
export type Hold = 'upload-before' | 'upload-after' | 'create-before' | 'create-after' | 'retrieve' | 'content';

export interface BatchBehaviour {
  hold?: Hold;
  /** How batches end; completed where absent. */
  end?: 'completed' | 'expired' | 'cancelled' | 'failed';
  /** The output and error files hold one line of each kind that can be wrong, and answers for the rest. */
  mangled?: boolean;
  /** So many looks fail with 503 first. */
  unavailable?: number;
}

export interface BatchStats {
  uploads: number;
  batches: number;
  held: Hold[];
  /** How often each custom id was submitted, of those submitted more than once. */
  repeated: Record<string, number>;
  bodies: object[];
}

interface Line {
  custom_id: string;
  body: { messages: { content: string }[]; response_format: { json_schema: { schema: object } } };
}

interface Batch {
  id: string;
  status: string;
  input_file_id: string;
  output_file_id?: string;
  error_file_id?: string;
  [more: string]: unknown;
}

export class FakeBatches {
  behaviour: BatchBehaviour = {};
  readonly #files = new Map<string, { id: string; filename: string; text: string }>();
  readonly #batches = new Map<string, Batch>();
  #held: Hold[] = [];
  #uploads = 0;

  stats(): BatchStats {
    const ids = [...this.#batches.values()].flatMap((batch) => this.#linesOf(batch).map((line) => line.custom_id));
    const times = new Map<string, number>();
    for (const id of ids) times.set(id, (times.get(id) ?? 0) + 1);
    return {
      uploads: this.#uploads,
      batches: this.#batches.size,
      held: this.#held,
      repeated: Object.fromEntries([...times].filter(([, count]) => count > 1)),
      bodies: [...this.#batches.values()].flatMap((batch) => this.#linesOf(batch).map(({ body }) => body)),
    };
  }

  reset(): void {
    this.#files.clear();
    this.#batches.clear();
    this.#held = [];
    this.#uploads = 0;
  }

  async answer(request: IncomingMessage, body: string, response: ServerResponse): Promise<void> {
    const [path = '', query = ''] = (request.url ?? '').slice('/v1/'.length).split('?');
    const [kind, id, part] = path.split('/');
    const send = (value: unknown, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    const posted = request.method === 'POST';
    if (kind === 'files' && posted) {
      if (this.#holds('upload-before')) return;
      const file = await this.#upload(request.headers['content-type'] ?? '', body);
      if (!this.#holds('upload-after')) send(file);
    } else if (kind === 'files' && part === 'content') {
      if (!this.#holds('content')) response.end(this.#files.get(id ?? '')?.text);
    } else if (kind === 'files') send(pageOf([...this.#files.values()].map(fileObject), query));
    else if (posted) {
      if (this.#holds('create-before')) return;
      const batch = this.#create(JSON.parse(body));
      if (!this.#holds('create-after')) send(batch);
    } else if (id === undefined) send(pageOf([...this.#batches.values()], query));
    else if ((this.behaviour.unavailable ?? 0) > 0) {
      this.behaviour.unavailable = (this.behaviour.unavailable ?? 0) - 1;
      send({ error: { message: 'no capacity' } }, 503);
    } else if (!this.#holds('retrieve')) send(this.#look(id));
  }

  #holds(hold: Hold): boolean {
    if (this.behaviour.hold !== hold) return false;
    this.#held.push(hold);
    return true;
  }

  async #upload(type: string, body: string): Promise<object> {
    const form = await new Response(body, { headers: { 'content-type': type } }).formData();
    const file = form.get('file') as File;
    this.#uploads += 1;
    return fileObject(this.#store(`file-${this.#uploads}`, file.name, await file.text()));
  }

  #store(id: string, filename: string, text: string) {
    const file = { id, filename, text };
    this.#files.set(id, file);
    return file;
  }

  #create({ input_file_id, metadata }: { input_file_id: string; metadata: object }): Batch {
    const id = `batch-${this.#batches.size + 1}`;
    const batch = { id, object: 'batch', status: 'validating', input_file_id, metadata };
    this.#batches.set(id, batch);
    return batch;
  }

  /** A batch goes on by one step with every look at it. */
  #look(id: string): Batch {
    const batch = this.#batches.get(id)!;
    const { end = 'completed' } = this.behaviour;
    if (batch.status === 'validating' && end === 'failed') {
      const data = [{ code: 'token_limit_exceeded', message: 'too many tokens are enqueued' }];
      Object.assign(batch, { status: 'failed', errors: { data } });
    } else if (batch.status === 'validating') batch.status = 'in_progress';
    else if (batch.status === 'in_progress') Object.assign(batch, this.#finished(batch, end), { status: end });
    return batch;
  }

  #linesOf({ input_file_id }: Batch): Line[] {
    const text = this.#files.get(input_file_id)?.text ?? '';
    return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]));
  }

  /** The files of a batch: where it did not complete, what came after the first half has no answer. */
  #finished(batch: Batch, end: string): Partial<Batch> {
    const lines = this.#linesOf(batch);
    const answered = end === 'completed' ? lines : lines.slice(0, lines.length >> 1);
    const output = answered.map((line) => JSON.stringify(replyTo(line)));
    // OpenAI's own service writes a line for what expired; nothing says that others do, and of what was cancelled.
    const late = lines.slice(answered.length).map(({ custom_id }) => ({ custom_id, error: { code: 'batch_expired' } }));
    const errors = end === 'expired' ? late.map((line) => JSON.stringify(line)) : [];
    if (this.behaviour.mangled) mangle(lines, output, errors);
    this.#store(`${batch.id}-output`, 'output', output.join('\n'));
    if (errors.length === 0) return { output_file_id: `${batch.id}-output` };
    this.#store(`${batch.id}-errors`, 'errors', `${errors.join('\n')}\n`);
    return { output_file_id: `${batch.id}-output`, error_file_id: `${batch.id}-errors` };
  }
}

const fileObject = ({ id, filename }: { id: string; filename: string }) => ({ id, object: 'file', filename });

/** Newest first, two at a time, as lists of any length come. */
const pageOf = (all: { id: string }[], query: string) => {
  const newest = [...all].reverse();
  const after = new URLSearchParams(query).get('after');
  const from = after === null ? 0 : newest.findIndex(({ id }) => id === after) + 1;
  const data = newest.slice(from, from + 2);
  return { object: 'list', data, has_more: from + 2 < newest.length };
};

const replyTo = ({ custom_id, body }: Line) => {
  const content = answerOf(body.messages.at(-1)!.content, body.response_format.json_schema.schema);
  return { custom_id, response: { status_code: 200, body: completionOf(content) }, error: null };
};

const completionOf = (content: string, choice: object = {}) => ({
  object: 'chat.completion',
  created: 1_790_000_000,
  model: 'fake-2026-01',
  choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop', ...choice }],
  usage: { prompt_tokens: tokensPerCall.input, completion_tokens: tokensPerCall.output, total_tokens: 25 },
});

/** One line of each kind that can be wrong, in the place of the first answers. */
const mangle = (lines: readonly Line[], output: string[], errors: string[]): void => {
  const said = (body: unknown, status_code = 200) => ({ response: { status_code, body } });
  const wrong = [
    said(completionOf('It could be many things.')),
    said(completionOf('{"team":"no-such-team"}')),
    said(completionOf('{"team":"bi', { finish_reason: 'length' })),
    said(completionOf('', { message: { role: 'assistant', refusal: 'no' } })),
    said({ model: 'fake-2026-01', choices: 7, usage: { prompt_tokens: -1 } }),
    said({ error: { message: 'upstream failed' } }),
    said({ error: { message: 'bad request' } }, 400),
  ];
  wrong.forEach((line, index) => {
    output[index] = JSON.stringify({ custom_id: lines[index]!.custom_id, ...line });
  });
  const [at, lost] = [wrong.length, wrong.length + 1];
  output[at] = '';
  errors.push(JSON.stringify({ custom_id: lines[at]!.custom_id, response: null, error: { code: 'server error' } }));
  output[lost] = '{"custom_id": "cut in the midd';
  output.push(JSON.stringify({ ...replyTo(lines[0]!), custom_id: 'nobody' }));
  output.push(JSON.stringify(replyTo(lines.at(-1)!)));
  output.push('null');
};
