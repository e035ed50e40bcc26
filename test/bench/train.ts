/**
 * Time of one training step and GFLOP/s of three shapes, on our engines and on PyTorch eager, each in a process of its
 * own. They take turns in short rounds, so that whatever else the machine does hits all alike.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { trainingEnvironment } from '@understudy/graph/training-memory';
import { type Figures, median, report } from './report.ts';
import { type Python, pythonWithTorch } from './train-python.ts';
import { type BenchTraining, benchTraining, SHAPE_TITLES, SHAPES, type Shape } from './train-shapes.ts';

const ROUNDS = 7;
/** The first rounds warm caches, arenas and compiled kernels up. */
const WARM_UP_ROUNDS = 2;
/** Steps that a contender takes in a round: short rounds, but several steps, so that caches are its own. */
const STEPS: Readonly<Record<Shape, number>> = { bag: 24, transformer: 12, encoder: 3 };
/** tfjs takes seconds for what the others do in a fraction of one: fewer steps, and not in all rounds. */
const TFJS_STEPS: Readonly<Record<Shape, number>> = { bag: 4, transformer: 2, encoder: 1 };
const TFJS_ROUNDS = 3;
const TFJS_WARM_UP_ROUNDS = 1;
const TFJS_BACKEND = 'wasm';
/** A contender that takes longer for a round cannot run the shape for any practical purpose; all others wait for it. */
const ROUND_LIMIT_MS = 60_000;

const folder = import.meta.dirname;
const threads = availableParallelism();

type Answer = {
  readonly milliseconds: readonly number[];
  readonly cpuMs: number;
  readonly megabytes: number;
};

type Contender = {
  readonly name: string;
  readonly steps: number;
  /** How many rounds it takes part in, the last ones, and how many of them only warm it up. */
  readonly rounds: number;
  readonly warmUpRounds: number;
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** What its first line of input says. */
  readonly opening?: string;
};

/** A contender's process. */
class Racer {
  readonly contender: Contender;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #taken: Answer[] = [];

  private constructor(contender: Contender, child: ChildProcess, answers: AsyncIterator<string>) {
    this.contender = contender;
    this.#child = child;
    this.#answers = answers;
  }

  static async start(contender: Contender): Promise<Racer | undefined> {
    const [command, ...args] = contender.command as [string, ...string[]];
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: contender.environment });
    await once(child, 'spawn');
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    if (contender.opening) child.stdin.write(`${contender.opening}\n`);
    const racer = new Racer(contender, child, lines);
    return (await lines.next()).done ? undefined : racer;
  }

  /** @returns false when the process has ended, as for want of memory, or is too slow: it is then killed. */
  async round(): Promise<boolean> {
    this.#child.stdin?.write(`${JSON.stringify({ steps: this.contender.steps })}\n`);
    const limit = new AbortController();
    const tooLate = sleep(ROUND_LIMIT_MS, undefined, { signal: limit.signal }).catch(() => undefined);
    const answer = await Promise.race([this.#answers.next(), tooLate]);
    limit.abort();
    if (!answer) this.#child.kill('SIGKILL');
    if (!answer || answer.done) return false;
    this.#taken.push(JSON.parse(answer.value) as Answer);
    return true;
  }

  /** What its rounds came to, apart from those that warmed it up. */
  get measured(): readonly Answer[] {
    return this.#taken.slice(this.contender.warmUpRounds);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.stdin?.end();
    await once(this.#child, 'exit');
  }
}

function contendersOf(shape: Shape, { pytorch }: BenchTraining, python: Python): Contender[] {
  const worker = [process.execPath, join(folder, 'train-worker.ts'), shape];
  const environment = trainingEnvironment(process.env);
  const usual = { steps: STEPS[shape], rounds: ROUNDS, warmUpRounds: WARM_UP_ROUNDS };
  const slow = { steps: TFJS_STEPS[shape], rounds: TFJS_ROUNDS, warmUpRounds: TFJS_WARM_UP_ROUNDS };
  const ours: Contender[] = [
    { name: 'ort', ...usual, environment, command: [...worker, 'ort', String(threads)] },
    { name: 'tfjs', ...slow, environment, command: [...worker, 'tfjs', String(threads), TFJS_BACKEND] },
  ];
  if ('missing' in python) return ours;
  const script = [python.interpreter, join(folder, 'train-pytorch.py')];
  const torch = (name: string, sparse: boolean): Contender => ({
    name,
    ...usual,
    environment: process.env,
    command: script,
    opening: JSON.stringify({ ...pytorch, threads, sparse }),
  });
  return [...ours, torch('pytorch', false), ...(shape === 'bag' ? [torch('pytorch-sparse', true)] : [])];
}

/** Lets all contenders for a shape take turns. One that cannot run the shape is missing from the result. */
async function race(contenders: readonly Contender[]): Promise<Map<string, readonly Answer[]>> {
  const started = await Promise.all(contenders.map((contender) => Racer.start(contender)));
  const racers = new Set(started.filter((racer) => racer !== undefined));
  for (let round = 0; round < ROUNDS; round++) {
    for (const racer of racers) {
      if (round >= ROUNDS - racer.contender.rounds && !(await racer.round())) racers.delete(racer);
    }
  }
  await Promise.all([...racers].map((racer) => racer.stop()));
  return new Map([...racers].map(({ contender, measured }) => [contender.name, measured]));
}

const rounded = (value: number): number => Number(value.toPrecision(4));

/** The lines of a shape in the table, and its figures. */
function summary(
  shape: Shape,
  flops: number,
  results: ReadonlyMap<string, readonly Answer[]>,
  names: readonly string[],
) {
  const rows: [string, string][] = [[SHAPE_TITLES[shape], `${rounded(flops / 1e9)} GFLOP a step`]];
  const figures: Figures = {};
  const stepMs = (name: string): number | undefined => {
    const answers = results.get(name);
    return answers && median(answers.flatMap(({ milliseconds }) => milliseconds));
  };
  const ort = stepMs('ort') as number;
  for (const name of names) {
    const ms = stepMs(name);
    const key = `${shape}_${name.replace('-', '_')}`;
    figures[`${key}_step_ms`] = ms === undefined ? null : rounded(ms);
    figures[`${key}_gflops`] = ms === undefined ? null : rounded(flops / ms / 1e6);
    if (ms === undefined) {
      rows.push([`  ${name}`, `not there, or more than ${ROUND_LIMIT_MS / 1_000} s a round`]);
      continue;
    }
    const answers = results.get(name) as readonly Answer[];
    const fastest = Math.min(...answers.flatMap(({ milliseconds }) => milliseconds));
    const cpuMs = median(answers.map((answer) => answer.cpuMs));
    const megabytes = Math.max(...answers.map((answer) => answer.megabytes));
    figures[`${key}_megabytes`] = Math.round(megabytes);
    const ratio = name === 'ort' ? '' : `, ort takes ${(ort / ms).toFixed(2)} of its time`;
    rows.push([
      `  ${name}`,
      `${ms.toFixed(1)} ms a step (fastest ${fastest.toFixed(1)}; ${cpuMs.toFixed(1)} of processor time), ` +
        `${(flops / ms / 1e6).toFixed(1)} GFLOP/s, ${Math.round(megabytes)} MB${ratio}`,
    ]);
  }
  return { rows, figures };
}

const NOTES: readonly [string, string][] = [
  ['ort, tfjs', 'in a process with the tunables of glibc that the trainer sets; pytorch in one as it comes'],
  ['threads', `${threads} each; tfjs on ${TFJS_BACKEND} has one`],
  [
    'GFLOP',
    '2·m·n·k for each matrix product forwards, three times that with the backward pass; a bag is one, of its n-grams',
  ],
  ['pytorch', 'eager, AdamW as it comes (foreach); the bag is an EmbeddingBag (sum, weights) with dense gradients'],
  ['pytorch-sparse', 'the bag with sparse gradients and SparseAdam, for information'],
  ['ort, tfjs', 'AdamW on the rows of a table that a step uses, and on all else'],
];

export async function run(): Promise<void> {
  const python = await pythonWithTorch();
  const loads = [loadavg()[0] as number];
  const rows: [string, string][] = [];
  const figures: Figures = {};
  for (const shape of SHAPES) {
    const training = await benchTraining(shape, threads);
    const results = await race(contendersOf(shape, training, python));
    const names = ['ort', 'tfjs', 'pytorch', ...(shape === 'bag' ? ['pytorch-sparse'] : [])];
    const shown = summary(shape, training.flops, results, names);
    rows.push(...shown.rows);
    Object.assign(figures, shown.figures);
    loads.push(loadavg()[0] as number);
  }
  if ('missing' in python) rows.push(['pytorch', `not there: ${python.missing}`]);
  rows.push(...NOTES, ['load of the machine, start to end', loads.map((load) => load.toFixed(1)).join(', ')]);
  report('train', rows, figures);
}
