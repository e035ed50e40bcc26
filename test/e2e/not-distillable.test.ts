import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Verdict } from '@understudy/contract';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { texts } from '../fakes/answers.ts';
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { openAiTeacher } from '../harness/task.ts';

const cli = resolve(import.meta.dirname, '../../packages/cli/main.ts');
const calls = 4_000;
const labels = ['behind', 'near', 'ahead'] as const;

/** Two tosses for each text: a teacher that gives the first always is steady, one that gives them in turn contradicts itself. */
const toss = (secret: string) => (text: string) =>
  [0, 1].map((nth) => labels[createHash('sha256').update(`${secret} ${nth} ${text}`).digest().readUInt32BE() % 3]!);

/** Hours that clocks of a region are ahead of Greenwich in winter; undefined where nobody lives. */
function hoursAhead(region: string): number | undefined {
  const locale: Intl.Locale & { getTimeZones?: () => string[] | undefined } = new Intl.Locale(`und-${region}`);
  const timeZone = locale.getTimeZones?.()?.[0];
  if (timeZone === undefined) return undefined;
  const parts = new Intl.DateTimeFormat('en', { timeZone, timeZoneName: 'longOffset' }).formatToParts(
    Date.UTC(2024, 0),
  );
  const offset = parts.find(({ type }) => type === 'timeZoneName')!.value;
  return Number(/GMT([+-]\d+)?/.exec(offset)?.[1] ?? 0);
}

/** Countries, and languages by where they are spoken, by their clocks: facts of the world, of which the letters tell little. */
function clocks(): Map<string, string> {
  const letters = 'abcdefghijklmnopqrstuvwxyz'.split('');
  const twos = letters.flatMap((a) => letters.map((b) => a + b));
  const codes = [...twos, ...twos.flatMap((two) => letters.map((c) => two + c))];
  const regions = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'none' });
  const languages = new Intl.DisplayNames(['en'], { type: 'language', fallback: 'none' });
  const found = new Map<string, string>();
  const note = (name: string | undefined, region: string | undefined) => {
    const hours = name && region && hoursAhead(region);
    if (name && typeof hours === 'number') found.set(name, labels[hours <= 0 ? 0 : hours <= 2 ? 1 : 2]);
  };
  for (const code of twos) note(regions.of(code.toUpperCase()), code.toUpperCase());
  for (const code of codes) if (languages.of(code)) note(languages.of(code), new Intl.Locale(code).maximize().region);
  return found;
}

let teacher: FakeTeacher;
let platform: TestPlatform;
beforeAll(async () => {
  [teacher, platform] = await Promise.all([FakeTeacher.start(), TestPlatform.start()]);
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
  await teacher?.[Symbol.asyncDispose]();
});

interface Case {
  inputs: readonly string[];
  /** Of each text what the teacher says when it is asked the first time, the second, … */
  said: (text: string) => readonly string[];
  usd: number;
  goal?: object;
}

const facts = clocks();
const cases: Record<string, Case> = {
  'coin-toss': { inputs: texts(2_500).slice(0, 1_250), said: (text) => toss('coin')(text).slice(0, 1), usd: 20 },
  'moody-teacher': {
    inputs: texts(2_500).slice(1_250),
    said: toss('mood'),
    usd: 50,
    goal: { agreement: 0.9, ceilingSample: 100 },
  },
  'world-facts': { inputs: [...facts.keys()], said: (text) => [facts.get(text)!], usd: 50 },
};

function taskOf(name: string, { inputs, usd, goal }: Case): object {
  const path = join(platform.dataDir, `${name}.jsonl`);
  writeFileSync(path, inputs.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  return {
    name,
    input: { fields: ['text'] },
    prompt: {
      instructions: 'Are clocks there behind Greenwich, near it or ahead of it?',
      template: '{{text}}',
      maxCharacters: 200,
    },
    output: {
      schema: {
        type: 'object',
        properties: { clock: { enum: [...labels] } },
        required: ['clock'],
        additionalProperties: false,
      },
    },
    teacher: {
      ...openAiTeacher(teacher.baseUrl),
      pricing: { inputUsdPerMillionTokens: 100, outputUsdPerMillionTokens: 1_000 },
    },
    sources: [{ kind: 'jsonl', path }],
    budget: { calls, usd },
    goal: { agreement: 0.98, latencyMs: 1_000, ...goal },
    training: { families: ['bag'] },
  };
}

/** The ledger of a run once no call of it is held ready. */
async function settled(task: string, runId: string) {
  const { teacherGateway } = platform;
  let ledger = await teacherGateway.getLedger({ task, runId });
  await platform.until(async () => {
    ledger = await teacherGateway.getLedger({ task, runId });
    return ledger.reservedCalls === 0n;
  });
  return ledger;
}

test('labels by coin toss, a teacher that contradicts itself, and facts of the world end with that verdict, before a fifth of the budget is spent', async () => {
  const said = Object.values(cases).flatMap((one) => one.inputs.map((text) => [text, one.said(text)] as const));
  await teacher.behave({ labels: Object.fromEntries(said) });
  const runs = await Promise.all(
    Object.entries(cases).map(async ([name, one]) => {
      const run = await platform.finished(await platform.startRun(taskOf(name, one)));
      return { run, usd: one.usd, ledger: await settled(name, run.runId) };
    }),
  );
  for (const { run, usd, ledger } of runs) {
    expect(Verdict[run.verdict], `${run.task}: ${run.reason}`).toBe('NOT_DISTILLABLE');
    expect(run.reason).toContain('cannot be distilled to this goal');
    expect(ledger.calls).toBeGreaterThan(0n);
    expect(Number(ledger.calls) / calls, run.task).toBeLessThan(0.2);
    expect(Number(ledger.spentMicroUsd) / (usd * 1e6), run.task).toBeLessThan(0.2);
  }
  const counted = runs.reduce((sum, { ledger }) => sum + Number(ledger.calls), 0);
  expect((await teacher.stats()).calls).toBe(counted);
  const [coin, moody, world] = runs.map(({ run }) => run.reason);
  expect(coin).toMatch(/would agree in at most \d\d\.\d% \(19 of 20 forecasts\)/);
  expect(world).toMatch(/would agree in at most \d\d\.\d% \(19 of 20 forecasts\)/);
  expect(moody).toMatch(/asked again, the teacher gave the same answer to \d+ of \d+ inputs/);
  // The dearer task is ended by its USD, the others by their calls.
  expect(runs[0]!.run.submitted).toBeLessThan(runs[2]!.run.submitted);
});

test('who reads the end of such a run is told why, what it cost of what it might have, and what would help', async () => {
  const env = { ...process.env, UNDERSTUDY_DATA: platform.dataDir };
  const { stdout } = await promisify(execFile)(process.execPath, [cli, 'report', 'coin-toss'], { env });
  expect(stdout).toMatch(/verdict +cannot be distilled: /);
  expect(stdout).toMatch(/given by chance, or by knowledge that is not in it/);
  expect(stdout).toMatch(/spent +\$\d\.\d+ for \d+ calls to the teacher, of the 4,000 calls of the budget/);
});
