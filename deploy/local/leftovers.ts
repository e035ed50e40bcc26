// Processes of a supervisor that was killed. They notice it and end by themselves, but a new supervisor may come sooner.
import { setTimeout as sleep } from 'node:timers/promises';
import { startOf } from './lock.mjs';

/** What a drain may take before it is cut short: the next supervisor waits for the files that these hold open. */
const endWithinMs = 15_000;
const pollMs = 50;

interface Recorded {
  pid: number;
  started: string;
}

/** Ends those of the recorded processes that still run; a process that merely has the same id is left alone. */
export const stopLeftovers = async (recorded: readonly Recorded[]): Promise<void> => {
  const alive = () => recorded.filter(({ pid, started }) => startOf(pid) === started);
  for (const { pid } of alive()) signal(pid, 'SIGTERM');
  const deadline = performance.now() + endWithinMs;
  while (alive().length > 0 && performance.now() < deadline) await sleep(pollMs);
  for (const { pid } of alive()) signal(pid, 'SIGKILL');
  while (alive().length > 0) await sleep(pollMs);
};

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
};
