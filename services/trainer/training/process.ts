/**
 * The training process: takes one job, trains, says how it went, and ends. It is a process of its own because a training
 * step occupies its thread and because a crash of the runtime, or the kernel taking its memory, must not take the
 * service along. It ends when the service does.
 */
import { openBlobStore } from '@understudy/service/blobs/open-blob-store';
import { messageOf, TerminalError } from '@understudy/service/errors';
import type { TrainingReport } from '@understudy/student';
import { CandidateError } from '../errors.ts';
import { findSuspects } from './folds.ts';
import type { Fault, FromTraining, Job } from './protocol.ts';
import { train } from './train.ts';

/** Resolves when the message is on its way, or the service is gone: then this process ends anyway. */
const say = (message: FromTraining): Promise<void> =>
  new Promise((resolve) => {
    process.send?.(message, undefined, {}, () => resolve());
  });

async function run(job: Job): Promise<FromTraining> {
  try {
    await using blobs = await openBlobStore(job.blobs);
    const onProgress = (report: TrainingReport) => void say({ kind: 'progressed', report });
    if (job.acrossFolds) return { kind: 'found', foldsDigest: await findSuspects(job, blobs, onProgress) };
    const trained = await train(job, blobs, {
      onProgress,
      onUnlearnable: (unlearnable) => void say({ kind: 'unlearnable', unlearnable }),
      onCacheLost: (error) => void say({ kind: 'cache-lost', reason: messageOf(error) }),
      onCheckpointRefused: (error) => void say({ kind: 'checkpoint-refused', reason: messageOf(error) }),
    });
    return { kind: 'trained', trained };
  } catch (error) {
    return { kind: 'failed', fault: faultOf(error), message: messageOf(error) };
  }
}

function faultOf(error: unknown): Fault {
  if (error instanceof TerminalError) return 'order';
  if (error instanceof CandidateError) return error.crashed ? 'crash' : 'candidate';
  return 'passing';
}

process.on('disconnect', () => process.exit(1));
// The service decides when a training stops; Ctrl-C on a terminal reaches all processes at once.
process.on('SIGINT', () => {});
process.once('message', async (job) => {
  await say(await run(job as Job));
  process.exit(0);
});
