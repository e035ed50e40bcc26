// Runs the platform on this machine until it is told to stop. With a parent that opened a channel (the command line) it
// reports there, and stops when the parent is gone; without one it prints plain lines.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { lineOf, type SupervisorEvent } from '@understudy/cli/platform';
import { messageOf, StartupError } from '@understudy/service/errors';
import { Platform } from './platform.ts';
import { readSettings } from './settings.ts';

/** Where reports are kept as well, once the data folder is ours. */
let logFile: string | undefined;

const report = (event: SupervisorEvent) => {
  const line = lineOf(event);
  if (logFile) appendFileSync(logFile, `${new Date().toISOString()} ${line}\n`);
  // A parent that is gone is noticed by `disconnect`, not here.
  if (process.connected) process.send?.(event, undefined, undefined, () => {});
  else process.stderr.write(`${line}\n`);
};

/** Resolves when somebody wants the platform to stop. A terminal and npm may both send the same Ctrl-C. */
const stopWanted = (): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
    process.on('disconnect', () => resolve());
  });

const supervise = async (): Promise<number> => {
  const stopped = stopWanted();
  const settings = readSettings(process.env);
  const platform = Platform.take(settings, report);
  logFile = join(settings.dataDir, 'logs', 'supervisor.log');
  try {
    const started = platform.start().then(() => platform.trouble);
    await Promise.race([stopped, started, platform.trouble]);
    return 0;
  } finally {
    await platform.stop();
  }
};

try {
  process.exitCode = await supervise();
} catch (error) {
  report({
    event: 'failed',
    reason: error instanceof StartupError ? messageOf(error) : ((error as Error).stack ?? messageOf(error)),
  });
  process.exitCode = error instanceof StartupError ? 2 : 1;
}
if (process.connected) process.disconnect?.();
