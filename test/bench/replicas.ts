/**
 * How teacher sampling scales: a teacher that takes 100 ms, 16 calls in flight per teacher-gateway, 1 to 8 of them.
 * Concurrency is counted at the teacher; throughput is answers over the time from first to last call.
 */
import { FakeTeacher } from '../harness/fake-teacher.ts';
import { TestPlatform } from '../harness/platform.ts';
import { natsTeacher, routingTask } from '../harness/task.ts';
import { report } from './report.ts';

const replicaCounts = [1, 2, 4, 8] as const;
const latencyMs = 100;
const callsInFlight = 16;
/** Long enough that the beginning and the end, when some replicas have work and others do not, hardly matter. */
const secondsPerCount = 15;

/** Calls of each replica before anything is measured: code that has just been loaded runs several times slower. */
const warmUpCalls = 500;

interface Measured {
  callsPerSecond: number;
  maxInFlight: number;
}

const measure = async (replicas: number): Promise<Measured> => {
  await using platform = await TestPlatform.start({
    env: {
      UNDERSTUDY_TEACHER_GATEWAYS: String(replicas),
      TEACHER_CONCURRENCY: String(callsInFlight),
      LOG_LEVEL: 'warn',
    },
  });
  await using teacher = await FakeTeacher.start({
    natsUrl: platform.run.natsUrl,
    natsSeed: platform.operatorSeed,
    latencyMs,
  });
  const prompts = Math.round((replicas * callsInFlight * 1_000 * secondsPerCount) / latencyMs);
  const warmUp = await platform.startRun(
    routingTask({ name: 'warm-up', folder: platform.dataDir, prompts: replicas * warmUpCalls, teacher: natsTeacher }),
  );
  await platform.runUntil(warmUp, (run) => run.snapshot !== undefined);
  await platform.prompt.cancelRun({ runId: warmUp, reason: 'the benchmark needs no student' });
  await platform.finished(warmUp);
  await teacher.reset();
  const runId = await platform.startRun(
    routingTask({ name: 'replicas', folder: platform.dataDir, prompts, teacher: natsTeacher }),
  );
  await platform.until(async () => (await teacher.stats()).calls === prompts);
  const { firstCallMs, lastCallMs, maxInFlight } = await teacher.stats();
  await platform.prompt.cancelRun({ runId, reason: 'measured' });
  return { callsPerSecond: (prompts * 1_000) / (lastCallMs - firstCallMs), maxInFlight };
};

export const run = async (): Promise<void> => {
  const measured = new Map<number, Measured>();
  for (const replicas of replicaCounts) measured.set(replicas, await measure(replicas));
  const one = measured.get(1)!.callsPerSecond;
  const efficiency = (replicas: number) => measured.get(replicas)!.callsPerSecond / (one * replicas);
  const ideal = (callsInFlight * 1_000) / latencyMs;
  report(
    'replicas',
    replicaCounts.map((replicas) => {
      const { callsPerSecond, maxInFlight } = measured.get(replicas)!;
      const shares = `${(100 * efficiency(replicas)).toFixed(1)}% of linear, ${((100 * callsPerSecond) / (ideal * replicas)).toFixed(1)}% of what the latency allows`;
      return [
        `${replicas} teacher-gateways`,
        `${callsPerSecond.toFixed(0)} calls/s, ${maxInFlight} in flight at most, ${shares}`,
      ];
    }),
    Object.fromEntries(
      [2, 4, 8].map((replicas) => [`efficiency_at_${replicas}`, Number(efficiency(replicas).toFixed(4))]),
    ),
  );
};
