import { Verdict } from '@understudy/contract';
import { expect, test } from 'vitest';
import { labelOf, texts } from '../fakes/answers.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { labels, natsTeacher, routingTask } from '../harness/task.ts';

const name = 'changing';
const prompts = 700;
const clients = 2;
/** Between a client's requests, for what else runs on these cores: at 10 ms a training of 6 s took 25 s beside them. */
const breathMs = 50;

/** Clients that go on asking, each text once, and what they got. */
class Traffic {
  readonly failures: string[] = [];
  answered = 0;
  #stopped = false;
  readonly #url: string;
  readonly #texts: Iterator<string>;
  readonly #asking: Promise<unknown>;

  constructor(url: string, asked: readonly string[]) {
    this.#url = `${url}/v1/chat/completions`;
    this.#texts = asked.values();
    this.#asking = Promise.all(Array.from({ length: clients }, () => this.#client()));
  }

  async #client(): Promise<void> {
    for (let next = this.#texts.next(); !next.done && !this.#stopped; next = this.#texts.next()) {
      try {
        await this.ask(next.value);
        this.answered += 1;
      } catch (error) {
        this.failures.push(String(error));
      }
      await new Promise((wake) => setTimeout(wake, breathMs));
    }
  }

  async ask(text: string): Promise<{ team: string; student: string | null }> {
    const body = { model: name, messages: [{ role: 'user', content: JSON.stringify({ text }) }] };
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(this.#url, { method: 'POST', headers, body: JSON.stringify(body) });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    const reply = (await response.json()) as { choices: [{ message: { content: string } }] };
    const student = response.headers.get('x-understudy-student');
    return { ...(JSON.parse(reply.choices[0].message.content) as { team: string }), student };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#asking;
  }
}

test('the teacher changes: the student is demoted, and one that learnt the new answers takes its place, nobody asked, no request failed', async () => {
  await using platform = await TestPlatform.start();
  await using teacher = await FakeTeacher.start({ natsUrl: platform.run.natsUrl, natsSeed: platform.operatorSeed });
  const { deployer } = platform;
  const task = routingTask({
    name,
    folder: platform.dataDir,
    prompts,
    teacher: natsTeacher,
    parts: {
      live: { callsPerDay: 1_000_000, audit: { share: 0.5, callsPerDay: 100_000 } },
      deployment: { retrain: { runsPerWeek: 2, cooldownMinutes: 0, newPairsShare: 0 } },
      splits: { dev: 0.2, test: 0.3 },
      training: { families: ['bag'] },
    },
  });
  const first = await platform.finished(await platform.startRun(task));
  expect(Verdict[first.verdict], first.reason).toBe('PROMOTED');
  await platform.untilServed(name);
  const before = (await deployer.getDeployment({ task: name })).deployment!;

  const fresh = texts(prompts + 100_000).slice(prompts);
  const traffic = new Traffic(platform.run.httpUrl, fresh.slice(100));
  await platform.until(async () => ((await deployer.getWatch({ task: name })).evidence[0]?.checks ?? 0) >= 20);
  await teacher.behave({ turn: 1 });
  const second = await platform.finished(`auto-${name}-epoch-1`);
  expect(Verdict[second.verdict], second.reason).toBe('PROMOTED');
  const after = (await deployer.getDeployment({ task: name })).deployment!;
  await platform.until(async () => (await traffic.ask(fresh[0]!)).student === after.studentDigest);
  await platform.until(() => traffic.answered > 100);
  await traffic.stop();
  expect(traffic.failures).toEqual([]);

  const right = await Promise.all(
    fresh.slice(1, 100).map(async (text) => (await traffic.ask(text)).team === labelOf(text, labels, 1)),
  );
  expect(right.filter(Boolean).length).toBeGreaterThanOrEqual(90);

  const { decisions } = await deployer.listDecisions({ task: name });
  expect(decisions.map(({ action }) => action)).toEqual(['promoted', 'drift', 'demoted', 'promoted']);
  const demotion = decisions[2]!;
  expect(demotion).toMatchObject({
    author: 'policy',
    studentDigest: '',
    reason: expect.stringMatching(/it has changed/),
  });
  expect(demotion.evidence).toMatchObject({ studentDigest: before.studentDigest, goal: 0.8 });
  expect(demotion.evidence!.upperBound).toBeLessThan(1);
  const { taskJson } = await platform.prompt.getTask({ task: name });
  expect(JSON.parse(taskJson).teacher.epoch).toBe(1);
  expect(after).toMatchObject({ runId: `auto-${name}-epoch-1`, generation: 3n });
});
