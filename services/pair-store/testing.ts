/** What tests of this service need: a task, answers to it, and both databases. */
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { HeadDistributionSchema, type Pair, PairSchema, Purpose, Source, UsageSchema } from '@understudy/contract';
import { compileTask, pairId, sha256Hex, type Task } from '@understudy/task';
import type { Database } from './store/database.ts';
import { ownMigrations } from './store/migrate.ts';
import { openDatabase } from './store/open-database.ts';
import { startPostgres, whyNoPostgres } from './store/postgres-server.ts';

export const FINGERPRINT = sha256Hex('a teacher');

type PairChange = Partial<Omit<Pair, '$typeName' | '$unknown'>>;

/** A pair as a gateway makes it. */
export function testPair(task: Task, text: string, change: PairChange = {}): Pair {
  const { promptId, inputJson, text: rendered } = compileTask(task).renderPrompt({ text });
  const fingerprint = change.fingerprint ?? FINGERPRINT;
  return create(PairSchema, {
    pairId: pairId(promptId, fingerprint, change.sampleNumber ?? 0),
    promptId,
    fingerprint,
    inputJson,
    text: rendered,
    answerJson: '{"label":"ham"}',
    soft: [create(HeadDistributionSchema, { head: 'label', probabilities: [0.75, 0.25] })],
    purpose: Purpose.LABEL,
    source: Source.RANDOM,
    origin: 'mail.jsonl',
    weight: 1,
    usage: create(UsageSchema, { inputTokens: 10n, outputTokens: 2n, spentMicroUsd: 7n, durationUs: 1500n, calls: 1 }),
    answeredAt: create(TimestampSchema, { seconds: 1_800_000_000n, nanos: 123_456_000 }),
    ...change,
  });
}

/** A database of its own for a test; `open` gives further connections to it, as other instances have. */
export interface TestDatabase extends AsyncDisposable {
  open(): Promise<Database>;
}

export interface DatabaseKind {
  readonly name: string;
  /** Why it cannot be tested here. */
  readonly skip: string | undefined;
  /** Whether several instances can use one database. */
  readonly shared: boolean;
  /** Starts what the kind needs once; `newDatabase` is then cheap. */
  start(): Promise<AsyncDisposable & { newDatabase(): Promise<TestDatabase> }>;
}

const pglite: DatabaseKind = {
  name: 'PGlite',
  skip: undefined,
  shared: false,
  start: async () => ({ newDatabase: newPglite, [Symbol.asyncDispose]: async () => {} }),
};

/** A migrated data folder that tests copy: initialising PGlite takes seconds. Kept for later runs of the same versions. */
export async function pgliteTemplate(): Promise<string> {
  const pglite = readFileSync(new URL('../package.json', import.meta.resolve('@electric-sql/pglite')), 'utf8');
  const versions = [pglite, ...ownMigrations().map(({ sql }) => sql)];
  const template = path.join(tmpdir(), `understudy-pglite-template-${sha256Hex(versions.join('\n')).slice(0, 16)}`);
  if (existsSync(template)) return template;
  const making = await mkdtemp(`${template}-`);
  const database = await openDatabase({ DATA_DIR: making });
  await database[Symbol.asyncDispose]();
  await rename(making, template).catch(async (error) => {
    await rm(making, { recursive: true });
    if (!existsSync(template)) throw error;
  });
  return template;
}

/** A data folder with an empty, migrated PGlite in it. */
export async function newDataDir(): Promise<string> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'understudy-data-'));
  await cp(await pgliteTemplate(), dataDir, { recursive: true });
  return dataDir;
}

async function newPglite(): Promise<TestDatabase> {
  const dataDir = await newDataDir();
  const opened: Database[] = [];
  return {
    async open() {
      const database = await openDatabase({ DATA_DIR: dataDir });
      opened.push(database);
      return database;
    },
    async [Symbol.asyncDispose]() {
      for (const database of opened) await database[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

const whyNot = whyNoPostgres();
const postgres: DatabaseKind = {
  name: `PostgreSQL${whyNot ? ` (skipped: ${whyNot})` : ''}`,
  skip: whyNot,
  shared: true,
  async start() {
    const server = await startPostgres();
    return {
      async newDatabase() {
        const url = await server.newDatabase();
        const opened: Database[] = [];
        return {
          async open() {
            const database = await openDatabase({ DATABASE_URL: url, DATA_DIR: '/nowhere' });
            opened.push(database);
            return database;
          },
          async [Symbol.asyncDispose]() {
            for (const database of opened) await database[Symbol.asyncDispose]();
          },
        };
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
};

/** Both databases; a suite runs over each. */
export const databaseKinds: readonly DatabaseKind[] = [pglite, postgres];

/** Makes a database as good as new, faster than a new one. */
export async function emptyTables(database: Database): Promise<void> {
  await database.script(
    'truncate decisions, prompts, pairs, runs, outcomes, batches, outbox, workloads, workload_pairs, workload_outputs, workload_calls, forgotten, erasure_steps, erasures',
  );
}
