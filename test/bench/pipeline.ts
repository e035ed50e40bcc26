/**
 * Pairs a second through the whole platform: prompts read from a file, sampled, submitted over the bus, answered by an
 * instant teacher process, validated, grouped and stored; every service its own process, with the ledger, tracing and
 * persistence that a user has. Sealing the snapshot comes after and is timed apart.
 */
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, openAiTeacher, routingTask } from '../harness/task.ts';
import { rawPublishesPerSecond } from './raw-publish.ts';
import { report } from './report.ts';

const promptCount = 20_000;
const warmUpCount = 1_000;

interface Times {
  /** From the start of the run until every pair is stored. */
  storedSeconds: number;
  /** And until they are sealed into a snapshot. */
  sealedSeconds: number;
}

const timesOf = async (platform: TestPlatform, name: string, teacher: object, prompts: number): Promise<Times> => {
  const task = routingTask({ name, folder: platform.dataDir, prompts, teacher });
  const { pairStore } = platform;
  const started = performance.now();
  const runId = await platform.startRun(task);
  await platform.until(async () => {
    const { answered, declined, declinesByReason } = await pairStore.stats({ task: name, runId });
    if (declined > 0) throw new Error(`${name}: prompts were declined: ${JSON.stringify(declinesByReason)}`);
    return answered === prompts;
  });
  const storedSeconds = (performance.now() - started) / 1_000;
  await platform.runUntil(runId, (run) => run.snapshot !== undefined);
  const sealedSeconds = (performance.now() - started) / 1_000;
  await platform.prompt.cancelRun({ runId, reason: 'the benchmark needs no student' });
  await platform.finished(runId);
  return { storedSeconds, sealedSeconds };
};

export const run = async (): Promise<void> => {
  await using platform = await TestPlatform.start({ env: { UNDERSTUDY_TEACHER_GATEWAYS: '1', LOG_LEVEL: 'warn' } });
  const bus = await platform.bus();
  await using teacher = await FakeTeacher.start({ natsUrl: platform.run.natsUrl, natsSeed: platform.operatorSeed });
  const kinds = { nats: natsTeacher, openai: openAiTeacher(teacher.baseUrl) };
  const times: Record<string, Times> = {};
  const raw = await rawPublishesPerSecond(bus, promptCount);
  for (const [kind, settings] of Object.entries(kinds)) {
    await timesOf(platform, `warm-up-${kind}`, settings, warmUpCount);
    await teacher.reset();
    times[kind] = await timesOf(platform, `bench-${kind}`, settings, promptCount);
    const { calls, distinct } = await teacher.stats();
    if (calls !== promptCount || distinct !== promptCount)
      throw new Error(`${kind}: the teacher saw ${calls} calls for ${distinct} prompts`);
  }
  const perSecond = (value: number) => `${Math.round(value).toLocaleString('en')}/s`;
  const rateOf = (kind: keyof typeof kinds) => promptCount / times[kind]!.storedSeconds;
  const rowOf = (kind: keyof typeof kinds): [string, string] => {
    const share = `${((100 * rateOf(kind)) / raw).toFixed(1)}% of raw`;
    const sealed = perSecond(promptCount / times[kind]!.sealedSeconds);
    return [
      `pairs, ${promptCount} prompts, ${kind} teacher`,
      `${perSecond(rateOf(kind))}, ${share}; with the sealed snapshot ${sealed}`,
    ];
  };
  report('pipeline', [['raw JetStream publishes, one connection', perSecond(raw)], rowOf('nats'), rowOf('openai')], {
    pairs_per_second: Math.round(rateOf('nats')),
    openai_pairs_per_second: Math.round(rateOf('openai')),
    raw_publishes_per_second: Math.round(raw),
  });
};
