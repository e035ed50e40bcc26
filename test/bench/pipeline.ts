/**
 * Pairs a second through the whole platform: prompts read from a file, sampled, submitted over the bus, answered by an
 * instant teacher process, validated, grouped, stored and sealed into a snapshot; every service its own process, with
 * the ledger, tracing and persistence that a user has.
 */
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, openAiTeacher, routingTask } from '../harness/task.ts';
import { rawPublishesPerSecond } from './raw-publish.ts';
import { report } from './report.ts';

const promptCount = 20_000;
const warmUpCount = 1_000;

/** Seconds from the start of a run to its sealed snapshot. */
const secondsToSeal = async (
  platform: TestPlatform,
  name: string,
  teacher: object,
  prompts: number,
): Promise<number> => {
  const task = routingTask({ name, folder: platform.dataDir, prompts, teacher });
  const started = performance.now();
  const runId = await platform.startRun(task);
  const sealed = await platform.runUntil(runId, (run) => run.snapshot !== undefined);
  const seconds = (performance.now() - started) / 1_000;
  if (sealed.answered !== prompts)
    throw new Error(
      `${name}: ${sealed.answered} of ${prompts} prompts were answered: ${JSON.stringify(sealed.declinesByReason)}`,
    );
  await platform.prompt.cancelRun({ runId, reason: 'the benchmark needs no student' });
  await platform.finished(runId);
  return seconds;
};

export const run = async (): Promise<void> => {
  await using platform = await TestPlatform.start({ env: { UNDERSTUDY_TEACHER_GATEWAYS: '1', LOG_LEVEL: 'warn' } });
  const bus = await platform.bus();
  await using teacher = await FakeTeacher.start({ natsUrl: platform.run.natsUrl, natsSeed: platform.operatorSeed });
  const kinds = { nats: natsTeacher, openai: openAiTeacher(teacher.baseUrl) };
  const rates: Record<string, number> = {};
  const raw = await rawPublishesPerSecond(bus, promptCount);
  for (const [kind, settings] of Object.entries(kinds)) {
    await secondsToSeal(platform, `warm-up-${kind}`, settings, warmUpCount);
    await teacher.reset();
    rates[kind] = promptCount / (await secondsToSeal(platform, `bench-${kind}`, settings, promptCount));
    const { calls, distinct } = await teacher.stats();
    if (calls !== promptCount || distinct !== promptCount)
      throw new Error(`${kind}: the teacher saw ${calls} calls for ${distinct} prompts`);
  }
  const perSecond = (value: number) => `${Math.round(value).toLocaleString('en')}/s`;
  report(
    'pipeline',
    [
      ['raw JetStream publishes, one connection', perSecond(raw)],
      [
        `pairs, ${promptCount} prompts, nats teacher`,
        `${perSecond(rates.nats!)}  (${((100 * rates.nats!) / raw).toFixed(1)}% of raw)`,
      ],
      [
        `pairs, ${promptCount} prompts, openai teacher`,
        `${perSecond(rates.openai!)}  (${((100 * rates.openai!) / raw).toFixed(1)}% of raw)`,
      ],
    ],
    {
      pairs_per_second: Math.round(rates.nats!),
      openai_pairs_per_second: Math.round(rates.openai!),
      raw_publishes_per_second: Math.round(raw),
    },
  );
};
