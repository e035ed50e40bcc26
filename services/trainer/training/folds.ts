/**
 * Pairs that contradict what the others teach, as confident learning finds them (Northcutt, Jiang & Chuang 2021): every pair is
 * answered by a student that learnt from two thirds of the others and none of its near-duplicates; it is a suspect where that student gives
 * another answer at least as confidently as it gives that answer where it is the teacher's.
 */
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import {
  decide,
  openBundle,
  type Policy,
  type Prediction,
  StudentModel,
  type TrainingReport,
  trainStudent,
} from '@understudy/student';
import type { Folds } from '@understudy/student/folds';
import { fitTemperatures } from '@understudy/student/heads/calibrate';
import type { OutputPlan } from '@understudy/task';
import { canonicalJson, sha256Hex } from '@understudy/task/canonical';
import { FOLDS, MAX_FOLD_PAIRS, MAX_SUSPECTS } from '../limits.ts';
import { seedOf } from '../order.ts';
import { loadTask } from '../task.ts';
import type { LearntPair } from './pairs.ts';
import type { Job } from './protocol.ts';
import { blaming, loadExamples } from './train.ts';

/** A pair with what a student that did not learn from it says. */
export interface Judged {
  readonly pairId: string;
  /** Canonical JSON, of the student; undefined where only the teacher can answer. */
  readonly answer: string | undefined;
  readonly confidence: number;
  readonly agrees: boolean;
}

/** Trains across folds and puts what was found into the blob store; gives its digest. Throws as `train` does. */
export async function findSuspects(
  job: Job,
  blobs: BlobStore,
  onProgress: (report: TrainingReport) => void,
): Promise<string> {
  const { task, output, digest } = await loadTask(blobs, job.order);
  const { train, dev } = await loadExamples(job, output);
  const pairs = train.examples.slice(0, MAX_FOLD_PAIRS);
  const judged = await blaming(async () => {
    const all: Judged[] = [];
    for (let fold = 0; fold < FOLDS; fold += 1) {
      const [held, learnt] = [pairs.filter(isIn(fold)), pairs.filter((pair) => !isIn(fold)(pair))];
      if (held.length === 0) continue;
      const { archive } = await trainStudent({
        ...{ candidate: job.candidate, train: learnt, dev: dev.examples, onProgress, heads: output.heads },
        ...{ seed: seedOf(job.order, task.training.seed), threads: job.threads, cacheFolder: job.cacheFolder },
        ...job.place,
        lineage: {
          task: { name: task.name, digest },
          snapshotDigest: job.order.snapshot.digest,
          fingerprint: job.order.snapshot.fingerprint,
        },
      });
      all.push(...(await judge(archive, output, held, dev.examples)));
    }
    return all;
  });
  return await blobs.put('folds', new TextEncoder().encode(canonicalJson(foldsFrom(judged))));
}

/** Near-duplicates are in one fold: a student that learnt one knows the others by heart. */
const isIn =
  (fold: number) =>
  ({ groupId }: LearntPair): boolean =>
    Number.parseInt(sha256Hex(groupId).slice(0, 8), 16) % FOLDS === fold;

async function judge(
  archive: Uint8Array,
  plan: OutputPlan,
  held: readonly LearntPair[],
  dev: readonly LearntPair[],
): Promise<Judged[]> {
  const student = await StudentModel.load(await openBundle(archive), { threads: 1 });
  try {
    const heads = fitTemperatures(plan.heads, givenOf(dev, await student.predict(dev.map(({ text }) => text))));
    const policy: Policy = { version: 2, studentDigest: student.digest, heads, threshold: 0 };
    const predictions = await student.predict(held.map(({ text }) => text));
    return held.map(({ pairId, text, answerJson }, i) => {
      const { answer, confidence } = decide(predictions[i]!, policy, plan, text);
      const agrees = answer !== undefined && plan.agreement(answer, answerJson).whole;
      return { pairId, answer, confidence, agrees };
    });
  } finally {
    await student.release();
  }
}

const givenOf = (pairs: readonly LearntPair[], predictions: readonly Prediction[]) =>
  pairs.map(({ target }, i) => ({ prediction: predictions[i]!, values: target.map(({ value }) => value) }));

/** What the judged pairs come to: the suspects, the most confident first. */
export function foldsFrom(judged: readonly Judged[]): Folds {
  const agreeing = judged.filter(({ agrees }) => agrees);
  const usual = Map.groupBy(agreeing, ({ answer }) => answer);
  const overall = meanConfidence(agreeing);
  const suspects = judged.flatMap(({ pairId, answer, confidence, agrees }) => {
    if (agrees || answer === undefined) return [];
    const known = usual.get(answer);
    const bar = known ? meanConfidence(known) : overall;
    return confidence >= bar ? [{ pairId, answer, confidence }] : [];
  });
  suspects.sort((a, b) => b.confidence - a.confidence || (a.pairId < b.pairId ? -1 : 1));
  const counts = { pairs: judged.length, agreeing: agreeing.length };
  return { version: 1, folds: FOLDS, ...counts, suspects: suspects.slice(0, MAX_SUSPECTS) };
}

/** 1 without any: nothing is confident enough then. */
const meanConfidence = (judged: readonly Judged[]): number =>
  judged.length === 0 ? 1 : judged.reduce((sum, { confidence }) => sum + confidence, 0) / judged.length;
