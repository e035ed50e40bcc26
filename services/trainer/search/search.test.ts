import { RetryableError, TerminalError } from '@understudy/service/errors';
import { beforeEach, describe, expect, it } from 'vitest';
import { CandidateError } from '../errors.ts';
import type { End } from '../outcomes.ts';
import type { Trained } from '../training/protocol.ts';
import type { Limits } from './decide.ts';
import type { PlannedCandidate } from './plan.ts';
import { type SearchParts, search } from './search.ts';

const limits: Limits = { sizeBytes: 5_000_000, latencyMs: 20, provable: true, slots: 2 };

const student = (name: string, margin: number): Trained => ({
  studentDigest: Buffer.from(name.padEnd(32, '.')).toString('hex'),
  sizeBytes: 1_000,
  hyperparameters: '{}',
  devAgreement: 0.9,
  dev: { pairs: 100, covered: 90, agreeing: 85, margin, ahead: { covered: 85, agreeing: 82 } },
  latencyUs: 100,
  trainingMs: 1_000,
});

const planned = (name: string, unfit?: PlannedCandidate['unfit']): PlannedCandidate => ({
  name,
  candidate: { family: 'bag' },
  key: name,
  threads: 1,
  unfit,
});

/** A training that the test ends. */
type Training = PromiseWithResolvers<Trained> & { signal: AbortSignal };

/** A search over named candidates, whose trainings the test ends by hand. */
class Scene {
  readonly ends = new Map<string, End>();
  readonly trainings = new Map<string, Training[]>();
  readonly crashes: string[] = [];
  readonly time = Promise.withResolvers<void>();
  readonly stop = new AbortController();
  #late = false;
  #started = Promise.withResolvers<void>();

  begin(names: readonly (string | PlannedCandidate)[], change: Partial<Limits> = {}) {
    const ladder = names.map((name) => (typeof name === 'string' ? planned(name) : name));
    const scene = this;
    const parts: SearchParts = {
      plan: { key: 'search', ladder, limits: { ...limits, ...change }, limitMs: 60_000 },
      clock: {
        get isOver() {
          return scene.#late;
        },
        over: this.time.promise,
        spentMs: 1_234,
      },
      signal: this.stop.signal,
      recall: async ({ key }) => this.ends.get(key),
      remember: async ({ key }, end) => void this.ends.set(key, end),
      train: ({ name }, signal) => this.#train(name, signal),
      onCrash: ({ name }) => this.crashes.push(name),
    };
    const outcome = search(parts);
    outcome.catch(() => {});
    return outcome;
  }

  #train(name: string, signal: AbortSignal): Promise<Trained> {
    const training = { ...Promise.withResolvers<Trained>(), signal };
    signal.addEventListener('abort', () => training.reject(signal.reason));
    this.trainings.set(name, [...(this.trainings.get(name) ?? []), training]);
    this.#started.resolve();
    this.#started = Promise.withResolvers();
    return training.promise;
  }

  /** The n-th training of a candidate, once it has begun. */
  async training(name: string, nth = 1): Promise<Training> {
    for (;;) {
      const found = this.trainings.get(name)?.[nth - 1];
      if (found) return found;
      await this.#started.promise;
    }
  }

  async end(name: string, margin: number): Promise<void> {
    (await this.training(name)).resolve(student(name, margin));
  }

  async fail(name: string, error: Error, nth = 1): Promise<void> {
    (await this.training(name, nth)).reject(error);
  }

  lateNow(): void {
    this.#late = true;
    this.time.resolve();
  }
}

const crash = new CandidateError('the training process was ended by SIGKILL', { crashed: true });
const diverged = new CandidateError('the loss became NaN in step 7', { crashed: false });
const statuses = (outcome: Awaited<ReturnType<typeof search>>): string[] =>
  outcome.candidates.map(({ name, status, reason }) => (reason ? `${name} ${status}: ${reason}` : `${name} ${status}`));

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});

describe('a search', () => {
  it('ends with the first student that is enough, and says why it went no further', async () => {
    const outcome = scene.begin(['a', 'b', 'c']);
    await scene.end('a', 2);
    expect(statuses(await outcome)).toEqual([
      'a trained',
      'b skipped: a cheaper student reached the goal',
      'c skipped: a cheaper student reached the goal',
    ]);
    expect(await outcome).toMatchObject({ chosen: student('a', 2), searchMs: 1_234 });
    expect([...scene.trainings.keys()]).toEqual(['a']);
  });

  it('trains those above the first beside each other, and stops the dearer ones when one is enough', async () => {
    const outcome = scene.begin(['a', 'b', 'c', 'd'], { slots: 3 });
    await scene.end('a', -1);
    await Promise.all(['b', 'c', 'd'].map((name) => scene.training(name)));
    await scene.end('c', 2);
    await scene.end('b', 0.5);
    expect(statuses(await outcome)).toEqual([
      'a trained',
      'b trained',
      'c trained',
      'd stopped: a cheaper student reached the goal',
    ]);
    expect((await outcome).chosen).toEqual(student('c', 2));
    expect(scene.trainings.get('d')?.[0]?.signal.aborted).toBe(true);
  });

  it('tells of the best where none is enough', async () => {
    const outcome = scene.begin(['a', 'b']);
    await scene.end('a', 0.2);
    await scene.end('b', -0.5);
    expect((await outcome).chosen).toEqual(student('a', 0.2));
    expect((await outcome).candidates.map(({ onFront }) => onFront)).toEqual([true, false]);
  });

  it('takes the best there is when the time is over', async () => {
    const outcome = scene.begin(['a', 'b', 'c']);
    await scene.end('a', -1);
    await scene.training('b');
    scene.lateNow();
    expect(statuses(await outcome)).toEqual([
      'a trained',
      'b stopped: the time for training was over',
      'c stopped: the time for training was over',
    ]);
  });

  it('goes no further than one student where none could be proven', async () => {
    const outcome = scene.begin(['a', 'b'], { provable: false });
    await scene.end('a', -1);
    expect(statuses(await outcome)).toEqual([
      'a trained',
      'b skipped: dev and test are too small to prove any student',
    ]);
  });

  it('leaves out what cannot be tried', async () => {
    const missing = planned('b', { status: 'failed', reason: 'no folder', transient: false });
    const outcome = scene.begin(['a', missing, 'c']);
    await scene.end('a', -1);
    await scene.end('c', 2);
    expect(statuses(await outcome)).toEqual(['a trained', 'b failed: no folder', 'c trained']);
  });
});

// Beside each other, because each waits out the pause after a crash.
describe.concurrent('a candidate that crashes', () => {
  it('twice is gone on without, as is one that diverges', async () => {
    const scene = new Scene();
    const outcome = scene.begin(['a', 'b', 'c'], { slots: 1 });
    await scene.fail('a', diverged);
    await scene.fail('b', crash);
    await scene.fail('b', crash, 2);
    await scene.end('c', 0);
    expect(scene.crashes).toEqual(['b', 'b']);
    expect(statuses(await outcome)).toEqual([
      'a failed: the loss became NaN in step 7',
      'b failed: the training process was ended by SIGKILL',
      'c trained',
    ]);
  });

  it('once is tried again', async () => {
    const scene = new Scene();
    const outcome = scene.begin(['a']);
    await scene.fail('a', crash);
    (await scene.training('a', 2)).resolve(student('a', 2));
    expect((await outcome).chosen).toEqual(student('a', 2));
  });

  it('is no reason to give up for good where no other led to a student', async () => {
    const scene = new Scene();
    const outcome = scene.begin(['a', 'b']);
    await scene.fail('a', diverged);
    await scene.fail('b', crash);
    await scene.fail('b', crash, 2);
    await expect(outcome).rejects.toThrow(RetryableError);
  });
});

describe('a search that was interrupted', () => {
  it('trains nothing twice', async () => {
    const first = scene.begin(['a', 'b', 'c'], { slots: 1 });
    await scene.end('a', -1);
    await scene.training('b');
    scene.stop.abort(new Error('the service stops'));
    await expect(first).rejects.toThrow('the service stops');
    expect((await scene.training('b')).signal.aborted).toBe(true);

    const next = new Scene();
    for (const [key, end] of scene.ends) next.ends.set(key, end);
    const outcome = next.begin(['a', 'b', 'c'], { slots: 1 });
    await next.fail('b', diverged);
    await next.end('c', 2);
    expect((await outcome).chosen).toEqual(student('c', 2));
    expect([...next.trainings.keys()]).toEqual(['b', 'c']);

    const last = new Scene();
    for (const [key, end] of next.ends) last.ends.set(key, end);
    expect(await last.begin(['a', 'b', 'c'])).toEqual(await outcome);
    expect(last.trainings.size).toBe(0);
  });
});

describe('a search without a student', () => {
  it('is hopeless when every candidate would end the same way again', async () => {
    const outcome = scene.begin(['a', 'b']);
    await scene.fail('a', diverged);
    await scene.fail('b', diverged);
    await expect(outcome).rejects.toThrow(TerminalError);
    await expect(outcome).rejects.toThrow('no student was trained: a: the loss became NaN in step 7; b: the loss');
  });

  it('says that the time was too short for even the cheapest', async () => {
    const outcome = scene.begin(['a', 'b']);
    await scene.training('a');
    scene.lateNow();
    await expect(outcome).rejects.toThrow(TerminalError);
    await expect(outcome).rejects.toThrow('no student was trained within training.maxMinutes (1); allow more');
  });

  it.each([
    ['the order can lead to no student', new TerminalError('the teacher gave one label only')],
    ['something else is away', new RetryableError('the pair store is away')],
  ])('stops all its candidates when %s', async (_, fault) => {
    const outcome = scene.begin(['a', 'b', 'c']);
    await scene.end('a', -1);
    const other = await scene.training('c');
    await scene.fail('b', fault);
    await expect(outcome).rejects.toBe(fault);
    expect(other.signal.aborted).toBe(true);
  });
});
