/**
 * One training in a process of its own: `node test/bench/train-worker.ts SHAPE ENGINE THREADS [BACKEND]`. Answers every
 * line {"steps": N} on standard input with the milliseconds of N steps and the most memory the process has had.
 */
import { createInterface } from 'node:readline';
import { type Engine, openTraining } from '@understudy/graph';
import type { TfjsBackend } from '@understudy/graph/engines/tfjs/packages';
import { benchTraining, type Shape } from './train-shapes.ts';

const [shape, engine, threads, backend] = process.argv.slice(2) as [Shape, Engine, string, TfjsBackend | undefined];
const { definition, state, batches, learningRate } = await benchTraining(shape, Number(threads));
const training = await openTraining(definition, state, {
  engine,
  threads: Number(threads),
  ...(backend && { backend }),
});

const answer = (value: unknown): boolean => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { steps } = JSON.parse(line) as { steps: number };
  const [milliseconds, losses]: [number[], number[]] = [[], []];
  const cpu = process.cpuUsage();
  for (let i = 0; i < steps; i++) {
    const batch = batches[training.step % batches.length] as (typeof batches)[number];
    const started = performance.now();
    losses.push(await training.run(batch, 1, learningRate));
    milliseconds.push(performance.now() - started);
  }
  const { user, system } = process.cpuUsage(cpu);
  const megabytes = process.resourceUsage().maxRSS / 1024;
  answer({ milliseconds, losses, cpuMs: (user + system) / 1_000 / steps, megabytes });
}
await training.release();
