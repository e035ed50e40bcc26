/** What tests of judging share: a small task, pairs of it, a real student of them, and a pair store that serves them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Split } from '@understudy/contract';
import { PairStoreService, type SplitPair, SplitPairSchema } from '@understudy/contract/pair-store';
import type { BlobStore } from '@understudy/service/blobs/blob-store';
import { FolderBlobStore } from '@understudy/service/blobs/folder';
import { RpcServer, rpcService } from '@understudy/service/rpc/server';
import { notFound } from '@understudy/service/rpc/status';
import type { Telemetry } from '@understudy/service/telemetry';
import { type Example, type Lineage, labelHead, type StudentTraining, trainStudent } from '@understudy/student';
import { randomSource } from '@understudy/student/statistics/random-source';
import { type CompiledTask, compileTask, sha256Hex, taskJson } from '@understudy/task';
import { labelSchema, testTask } from '@understudy/task/testing';

export const LABELS = ['ham', 'spam'];
const WORDS = [
  ['meeting', 'agenda', 'minutes', 'lunch', 'report', 'patch', 'kernel', 'thanks', 'schedule', 'review'],
  ['winner', 'prize', 'casino', 'viagra', 'credit', 'loan', 'cheap', 'offer', 'click', 'guaranteed'],
];
const FILLERS = ['the', 'of', 'please', 'today', 'your', 'about', 'with', 'new', 'all', 'see', 'for', 'this'];

export interface CorpusOptions {
  seed: number;
  train: number;
  dev: number;
  test: number;
  /** Share of answers that nothing in the text explains: no student agrees with those more often than by chance. */
  noise?: number;
  /** The one label that the teacher gives to everything. */
  onlyLabel?: number;
}

/** Pairs whose label shows in the words of the text: the label with more words of its own. */
export function corpus({ seed, train, dev, test, noise = 0, onlyLabel }: CorpusOptions): SplitPair[] {
  const random = randomSource(seed);
  const pick = (words: readonly string[]) => words[Math.floor(random() * words.length)]!;
  const splits = [
    ...new Array<Split>(train).fill(Split.TRAIN),
    ...new Array<Split>(dev).fill(Split.DEV),
    ...new Array<Split>(test).fill(Split.TEST),
  ];
  return splits.map((split, index) => {
    const truth = random() < 0.5 ? 1 : 0;
    const own = Array.from({ length: 5 }, () => pick(WORDS[random() < 0.85 ? truth : 1 - truth]!));
    const text = [...own, ...Array.from({ length: 5 }, () => pick(FILLERS)), `#${index}`].join(' ');
    const said = onlyLabel ?? (random() < noise ? (random() < 0.5 ? 1 : 0) : truth);
    const inputJson = JSON.stringify({ text });
    return create(SplitPairSchema, {
      split,
      groupId: String(index),
      weight: 1 + (index % 3),
      pair: {
        pairId: sha256Hex(`${seed} pair ${index}`),
        promptId: sha256Hex(`${seed} prompt ${index}`),
        fingerprint: 'f'.repeat(64),
        inputJson,
        answerJson: JSON.stringify({ label: LABELS[said] }),
        text,
        referenceJson: index % 2 ? JSON.stringify({ label: LABELS[truth] }) : undefined,
        usage: { durationUs: BigInt(20_000 + (index % 100) * 100), spentMicroUsd: 150n, calls: 1 },
      },
    });
  });
}

/** Keeps a task in the blob store, as the prompt service does. */
export async function keepTask(blobs: BlobStore, changes: Record<string, unknown> = {}): Promise<CompiledTask> {
  const task = compileTask(
    testTask({
      name: 'judged',
      output: { schema: labelSchema(LABELS) },
      budget: { calls: 1_000, usd: 0 },
      goal: { agreement: 0.9, coverage: 0.7, latencyMs: 500 },
      ...changes,
    }),
  );
  await blobs.put('tasks', new TextEncoder().encode(taskJson(task.task)));
  return task;
}

/** A training of a small student, apart from what it is trained for. */
export type SmallTraining = Omit<StudentTraining, 'lineage'>;

/** What trains a small student on the pairs' train split. */
export function smallTraining(pairs: readonly SplitPair[], epochs = 4): SmallTraining {
  const examples = (split: Split): Example[] =>
    pairs.flatMap((given) => {
      if (given.split !== split || !given.pair) return [];
      const { text, answerJson } = given.pair;
      const index = LABELS.indexOf(JSON.parse(answerJson).label);
      return [{ text, target: [{ value: { kind: 'choice', index } }], weight: 1 }];
    });
  const [train, dev] = [examples(Split.TRAIN), examples(Split.DEV)];
  const hyperparameters = { rows: 2_048, width: 16, batchTexts: 16, epochs };
  const candidate = { family: 'bag', hyperparameters } as const;
  return { candidate, heads: [labelHead('label', LABELS)], train, dev, seed: 1, threads: 1 };
}

/** Trains a student and keeps its bundle; what an event says of it. */
export async function keepStudent(
  blobs: BlobStore,
  training: SmallTraining,
  task: CompiledTask,
  snapshotDigest: string,
) {
  const lineage: Lineage = {
    task: { name: task.task.name, digest: task.digest },
    snapshotDigest,
    fingerprint: 'f'.repeat(64),
  };
  const { digest, archive, description } = await trainStudent({ ...training, lineage });
  await blobs.put('students', archive);
  return { digest, family: 'bag', sizeBytes: BigInt(archive.length), devAgreement: description.devAgreement };
}

/** A pair store of the real contract that knows the snapshots it was given. */
export class SnapshotServer implements AsyncDisposable {
  readonly #snapshots = new Map<string, readonly SplitPair[]>();
  readonly #server: RpcServer;

  private constructor(telemetry: Telemetry) {
    const absent = async () => {
      throw notFound('this pair store only streams');
    };
    const manifestJson = JSON.stringify({ leftOut: {} });
    const getSnapshot = async () => ({ manifestJson });
    const routes = { getSnapshot, stats: absent, findPairs: absent, importPairs: absent };
    const streamPairs = (request: { snapshotDigest: string; split: Split }) => this.#stream(request);
    this.#server = new RpcServer({ host: '127.0.0.1', port: 0, reflection: false, telemetry }, [
      rpcService(PairStoreService, { ...routes, streamPairs }),
    ]);
  }

  static async start(telemetry: Telemetry): Promise<SnapshotServer> {
    const server = new SnapshotServer(telemetry);
    await server.#server.listen();
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  /** Serves these pairs; what an event says of them. */
  add(pairs: readonly SplitPair[]) {
    const digest = sha256Hex(pairs.map(({ pair }) => pair?.pairId).join('\n'));
    this.#snapshots.set(digest, pairs);
    const inSplit = (split: Split) => pairs.filter((given) => given.split === split).length;
    return {
      digest,
      fingerprint: 'f'.repeat(64),
      trainPairs: inSplit(Split.TRAIN),
      devPairs: inSplit(Split.DEV),
      testPairs: inSplit(Split.TEST),
    };
  }

  async *#stream({ snapshotDigest, split }: { snapshotDigest: string; split: Split }) {
    const pairs = this.#snapshots.get(snapshotDigest);
    if (!pairs) throw notFound(`no snapshot ${snapshotDigest}`);
    const chosen = pairs.filter((given) => split === Split.UNSPECIFIED || given.split === split);
    for (let start = 0; start < chosen.length; start += 100) yield { pairs: chosen.slice(start, start + 100) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(1_000);
  }
}

/** A blob store in a folder of its own, removed at the end. */
export async function temporaryBlobs(): Promise<{ blobs: FolderBlobStore; folder: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'understudy-blobs-'));
  const blobs = await FolderBlobStore.open(folder);
  return { blobs, folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
