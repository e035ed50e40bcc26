/** `lineage`: where a student comes from and what was made of it, every step by its digest. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type BlobConfig, openBlobStoreToRead } from '@understudy/service/blobs/open-blob-store';
import { RetryableError } from '@understudy/service/errors';
import { readIdKey } from '@understudy/service/id-key';
import { readTrusted } from '@understudy/student';
import { type Connection, connect, dataFolder } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import type { HeldKey } from '../lineage/rows.ts';
import { Mismatch, type Step } from '../lineage/steps.ts';
import { studentByPrefix } from '../lineage/student.ts';
import { brokenStep, type Lineage, walk } from '../lineage/walk.ts';
import { type Output, table } from '../output.ts';

/** @throws ExitError `failed` naming the first step that does not fit */
export const lineage = async (output: Output, taskOrStudent: string): Promise<void> => {
  const config: BlobConfig = { ...process.env, DATA_DIR: dataFolder() };
  await using blobs = await openBlobStoreToRead(config);
  using platform = await runningPlatform(output);
  const digest =
    (await servingOf(platform, taskOrStudent)) ??
    (await studentOf(taskOrStudent, (prefix) => studentByPrefix(blobs, prefix)));
  const walked = await walk(blobs, platform, digest, readTrusted(process.env), heldKey());
  const broken = brokenStep(walked);
  output.answer({ ...walked, intact: broken === undefined }, () => treeOf(walked));
  if (broken) throw new ExitError(exitCodes.failed, `lineage is broken at the ${broken.step}: ${broken.says}`);
};

/** On a copy of the blobs the key may be away: then ids of prompts are not verified. */
const heldKey = (): HeldKey => {
  const file = process.env.ID_KEY_FILE || join(dataFolder(), 'secrets', 'id-key');
  return existsSync(file) ? readIdKey(file) : 'absent';
};

/** The platform, if it answers. */
const runningPlatform = async (output: Output): Promise<Connection | undefined> => {
  let connection: Connection | undefined;
  try {
    connection = connect();
    await connection.deployer.listDeployments({});
    return connection;
  } catch (error) {
    connection?.[Symbol.dispose]();
    const absent = error instanceof ExitError && error.code === exitCodes.notRunning;
    if (!absent && !(error instanceof RetryableError)) throw error;
    output.note('the platform is away: only what the blob store holds is verified');
    return undefined;
  }
};

/** The student that serves a task of this name; undefined where there is no such deployment. */
const servingOf = async (platform: Connection | undefined, name: string): Promise<string | undefined> => {
  if (!platform) return undefined;
  const { deployments } = await platform.deployer.listDeployments({});
  const deployment = deployments.find(({ task }) => task === name);
  if (deployment?.studentDigest === '') {
    const hint = 'name a student by its digest: understudy audit lists those that were';
    throw new ExitError(exitCodes.badInput, `no student serves ${name}, the teacher does; ${hint}`);
  }
  return deployment?.studentDigest;
};

/** Fewer digits could be a task's name. */
const leastDigits = 8;

const studentOf = async (text: string, find: (prefix: string) => Promise<string>): Promise<string> => {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  if (!/^[0-9a-f]+$/.test(text) || text.length < leastDigits) {
    const expected = `expected at least ${leastDigits} digits of a student, or a task that the running platform serves`;
    throw new ExitError(exitCodes.badInput, `${expected}, got ${JSON.stringify(text)}`);
  }
  try {
    return await find(text);
  } catch (cause) {
    if (cause instanceof Mismatch) throw new ExitError(exitCodes.badInput, cause.message, { cause });
    throw cause;
  }
};

const marks: Readonly<Record<Step['state'], string>> = {
  verified: '✓',
  erased: '∅',
  absent: '–',
  unverified: '?',
  broken: '✗',
};

const treeOf = ({ student, task, steps }: Lineage): string[] => [
  `student ${student}${task === undefined ? '' : ` of ${task}`}`,
  ...table(
    steps.map(({ step, state, digest, says }, index) => [
      `${index === steps.length - 1 ? '└─' : '├─'} ${marks[state]} ${step}`,
      digest?.slice(0, 12) ?? '',
      state === 'unverified' ? `unverified: ${says}` : says,
    ]),
  ),
];
