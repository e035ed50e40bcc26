/** The provider's files and batches. */
import OpenAI, { toFile } from 'openai';
import { teacherErrorOf } from '../teachers/http-failures.ts';
import { type OpenAiAccess, openAiClient } from '../teachers/openai.ts';
import type { OpenAiSettings } from '../teachers/openai-chat.ts';
import { TeacherError } from '../teachers/teacher.ts';
import { UPLOAD_TIMEOUT_MS } from './limits.ts';

/** Marks a batch as ours; its value is the key of a part. */
const MARK = 'understudy_part';

export type Batch = OpenAI.Batch;

/** Every method throws TeacherError. A failed `upload` or `create` may have come through all the same: look before another. */
export class Provider implements Disposable {
  readonly #client: OpenAI;
  readonly #close: () => void;
  readonly #asked: { name: string; timeoutMs: number };

  /** @throws TeacherError (`unauthorized`) when the key that the task names is not there */
  constructor(settings: OpenAiSettings, access: OpenAiAccess) {
    const { client, pool } = openAiClient(settings, access);
    this.#client = client.withOptions({ timeout: UPLOAD_TIMEOUT_MS });
    this.#close = pool.close;
    this.#asked = { name: settings.baseUrl, timeoutMs: UPLOAD_TIMEOUT_MS };
  }

  upload(key: string, lines: string): Promise<string> {
    return this.#told(async () => {
      const file = await toFile(Buffer.from(lines), nameOf(key), { type: 'application/jsonl' });
      return idOf(await this.#client.files.create({ file, purpose: 'batch' }));
    });
  }

  /** The file of a part, if the provider has it whole. */
  findFile(key: string): Promise<string | undefined> {
    return this.#told(async () => {
      for await (const { id, filename } of this.#client.files.list({ purpose: 'batch' })) {
        if (filename === nameOf(key)) return id;
      }
      return undefined;
    });
  }

  create(key: string, fileId: string): Promise<string> {
    return this.#told(async () =>
      idOf(
        await this.#client.batches.create({
          input_file_id: fileId,
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
          metadata: { [MARK]: key },
        }),
      ),
    );
  }

  /** By its mark, or by its file, which no other batch has. */
  findBatch(key: string, fileId: string): Promise<string | undefined> {
    return this.#told(async () => {
      for await (const { id, metadata, input_file_id } of this.#client.batches.list({ limit: 100 })) {
        if (metadata?.[MARK] === key || input_file_id === fileId) return id;
      }
      return undefined;
    });
  }

  batch(id: string): Promise<Batch> {
    return this.#told(() => this.#client.batches.retrieve(id));
  }

  content(fileId: string): Promise<string> {
    return this.#told(async () => (await this.#client.files.content(fileId)).text());
  }

  async #told<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      throw teacherErrorOf(error, OpenAI, this.#asked, { usd: 0, tokens: 0 });
    }
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}

const nameOf = (key: string): string => `understudy-${key}.jsonl`;

const idOf = ({ id }: { id?: unknown }): string => {
  if (typeof id === 'string' && id !== '') return id;
  throw new TeacherError('malformed', `expected an object with an id, got ${JSON.stringify(id)}`);
};
