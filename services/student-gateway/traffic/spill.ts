import { appendFile, mkdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EncodedEvent } from '@understudy/service/bus/event';
import { InTurn } from '@understudy/service/in-turn';
import { z } from 'zod';

const line = z.object({
  type: z.enum(['traffic.observed', 'call.observed']),
  task: z.string(),
  id: z.string(),
  time: z.string(),
  traceparent: z.string().optional(),
  data: z.base64(),
});

/** Events that wait on disk for the bus, one JSON line each, in a file of bounded size that only this user reads. */
export class Spill {
  readonly #path: string;
  readonly #maxBytes: number;
  #bytes: number;
  /** One operation on the file at a time. */
  readonly #turn = new InTurn();

  private constructor(path: string, maxBytes: number, bytes: number) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#bytes = bytes;
  }

  static async open(path: string, maxBytes: number): Promise<Spill> {
    await mkdir(dirname(path), { recursive: true });
    await appendFile(path, '', { mode: 0o600 });
    return new Spill(path, maxBytes, (await stat(path)).size);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps an event. @returns false when there is no more room for it. @throws Error of the file system */
  async add(event: EncodedEvent): Promise<boolean> {
    const { data, ...rest } = event;
    const text = `${JSON.stringify({ ...rest, data: Buffer.from(data).toString('base64') })}\n`;
    if (this.#bytes + text.length > this.#maxBytes) return false;
    this.#bytes += text.length;
    await this.#turn.do(() => appendFile(this.#path, text));
    return true;
  }

  /**
   * Hands every event to `publish`, many at once, and forgets them all when every one was taken. If one was not, all
   * stay, and some will be published again: receivers know them by their content.
   * @returns how many were published, and how many lines could not be read: the end of a line that a crash cut off
   */
  empty(publish: (event: EncodedEvent) => Promise<void>): Promise<{ published: number; unreadable: number }> {
    return this.#turn.do(async () => {
      const lines = (await readFile(this.#path, 'utf8')).split('\n').filter((text) => text !== '');
      const events = lines.map(read).filter((event) => event !== undefined);
      await Promise.all(events.map(publish));
      await truncate(this.#path);
      this.#bytes = 0;
      return { published: events.length, unreadable: lines.length - events.length };
    });
  }

  /** Takes out the events that `isMeant`. @returns how many there were */
  erase(isMeant: (event: EncodedEvent) => boolean): Promise<number> {
    return this.#turn.do(async () => {
      const lines = (await readFile(this.#path, 'utf8')).split('\n').filter((text) => text !== '');
      const kept = lines.filter((text) => {
        const event = read(text);
        return event !== undefined && !isMeant(event);
      });
      if (kept.length === lines.length) return 0;
      const fresh = `${this.#path}.erasing`;
      const content = kept.map((text) => `${text}\n`).join('');
      await writeFile(fresh, content, { mode: 0o600 });
      await rename(fresh, this.#path);
      this.#bytes = content.length;
      return lines.length - kept.length;
    });
  }
}

const read = (text: string): EncodedEvent | undefined => {
  try {
    const { data, ...event } = line.parse(JSON.parse(text));
    return { ...event, data: Buffer.from(data, 'base64') };
  } catch {
    return undefined; // counted as unreadable
  }
};
