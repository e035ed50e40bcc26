// Erasures are led by a command, which may be killed or find a service away: every few minutes the platform goes on with what is not done.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { SupervisorEvent } from '@understudy/cli/platform';
import { messageOf } from '@understudy/service/errors';
import { root } from './settings.ts';

/** Most are done at once by who asked; one that waits for a run to end waits for minutes anyway. */
const everyMs = 300_000;

/** Goes on with open erasures of the platform on a data folder, until it is stopped. What it does is in `logs/erasures.log`. */
export class Erasures {
  readonly #dataDir: string;
  readonly #report: (event: SupervisorEvent) => void;
  #timer: NodeJS.Timeout | undefined;
  #underWay: { child: ChildProcess; ended: Promise<unknown> } | undefined;

  constructor(dataDir: string, report: (event: SupervisorEvent) => void) {
    this.#dataDir = dataDir;
    this.#report = report;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#underWay ??= this.#goOn();
    }, everyMs);
  }

  /** What is under way is broken off: another time goes on where it ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#underWay?.child.kill();
    await this.#underWay?.ended;
  }

  /** A machine that has no process or file left to give has them another time. */
  #goOn() {
    const failed = (error: unknown): void => {
      const reason = `cannot go on with what was not erased: ${messageOf(error)}`;
      this.#report({ event: 'restarting', name: 'erasures', reason, afterMs: everyMs });
    };
    try {
      const child = goOnWithErasures(this.#dataDir);
      const ended = once(child, 'close')
        .catch(failed)
        .finally(() => {
          this.#underWay = undefined;
        });
      return { child, ended };
    } catch (error) {
      failed(error);
      return undefined;
    }
  }
}

/** Tries once. What comes of it is in the log. */
export const goOnWithErasures = (dataDir: string): ChildProcess => {
  const log = openSync(join(dataDir, 'logs', 'erasures.log'), 'a', 0o600);
  try {
    const command = [join(root, 'packages/cli/main.ts'), 'forgotten', '--resume'];
    return spawn(process.execPath, command, {
      env: { ...process.env, UNDERSTUDY_DATA: dataDir },
      stdio: ['ignore', log, log],
    });
  } finally {
    closeSync(log);
  }
};
