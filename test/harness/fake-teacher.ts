import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Behaviour, Settings, Stats } from '../fakes/teacher.ts';

const program = resolve(import.meta.dirname, '../fakes/teacher.ts');

/** The fake teacher's process. */
export class FakeTeacher implements AsyncDisposable {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(settings: Settings = {}): Promise<FakeTeacher> {
    const child = spawn(process.execPath, [program, JSON.stringify(settings)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface({ input: child.stdout })) {
      const port = /^listening on (\d+)$/.exec(line)?.[1];
      if (port) return new FakeTeacher(child, Number(port));
    }
    throw new Error('the fake teacher ended before it listened');
  }

  /** For a task's `teacher.baseUrl`. */
  get baseUrl(): string {
    return `http://127.0.0.1:${this.port}/v1`;
  }

  async stats(): Promise<Stats> {
    return (await (await fetch(`http://127.0.0.1:${this.port}/stats`)).json()) as Stats;
  }

  async behave(behaviour: Behaviour): Promise<void> {
    await fetch(`http://127.0.0.1:${this.port}/behave`, { method: 'POST', body: JSON.stringify(behaviour) });
  }

  async reset(): Promise<void> {
    await fetch(`http://127.0.0.1:${this.port}/reset`, { method: 'POST' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
