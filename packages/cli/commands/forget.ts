/** `forget`: erases an input, or a whole source, from everything that the platform keeps. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Erasure } from '@understudy/contract/pair-store';
import { type BlobConfig, openBlobStoreToRead } from '@understudy/service/blobs/open-blob-store';
import { connectBus } from '@understudy/service/bus/connection';
import { messageOf } from '@understudy/service/errors';
import { readIdKey } from '@understudy/service/id-key';
import { Telemetry } from '@understudy/service/telemetry';
import type { CompiledTask } from '@understudy/task';
import { versionsOf } from '@understudy/task/versions';
import { type Connection, connect, dataFolder } from '../connect.ts';
import { ExitError, exitCodes } from '../errors.ts';
import { type Forgetting, forget as forgetIn, type Receipt } from '../forget/forget.ts';
import { type ForgetOptions, givenIds } from '../forget/given.ts';
import { count, moment } from '../format.ts';
import { type Output, table } from '../output.ts';

/** @throws ExitError `failed` where a step could not be done: nobody shall take it for erased */
export const forget = async (
  output: Output,
  task: string,
  options: ForgetOptions & { author: string; reason: string },
): Promise<void> => {
  using connection = connect();
  const { author, reason, source = '' } = options;
  const idsOf = (versions: readonly CompiledTask[]) => givenIds(versions, options);
  const receipt = await erase(connection, task, idsOf, { source, author, reason });
  output.answer(jsonOf(receipt), () => linesOf(receipt));
  if (isWhole(receipt)) return;
  throw new ExitError(
    exitCodes.failed,
    `not everything is erased, ${Object.keys(receipt.missing).join(', ')} could not be done: the platform goes on with it, and so does the same command`,
  );
};

type About = Pick<Forgetting, 'source' | 'author' | 'reason' | 'erasureId'>;

const erase = async (
  connection: Connection,
  task: string,
  idsOf: (versions: readonly CompiledTask[]) => string[],
  about: About,
): Promise<Receipt> => {
  const { natsUrl, operatorSeedFile, idKeyFile } = connection.run;
  const config: BlobConfig = { ...process.env, DATA_DIR: dataFolder() };
  await using blobs = await openBlobStoreToRead(config);
  const versions = await versionsOf(blobs, task, readIdKey(idKeyFile));
  if (versions.length === 0) throw new ExitError(exitCodes.badInput, `no task ${task} was ever applied`);
  const ids = idsOf(versions);
  const { log } = new Telemetry({ service: 'understudy', logLevel: 'silent' });
  const seed = readFileSync(operatorSeedFile, 'utf8');
  const bus = await connectBus({ url: natsUrl, seed, name: 'operator', naming: { prefix: '' }, log });
  try {
    const where = { connection, bus, blobs, batchesFolder: join(dataFolder(), 'batches') };
    return await forgetIn({ ...where, versions, task, ids, ...about });
  } finally {
    await bus.close();
  }
};

const isWhole = ({ missing }: Receipt): boolean => Object.keys(missing).length === 0;

/** All erasures of a task, or of all tasks, the newest first. */
export const listErasures = async (
  output: Output,
  task: string | undefined,
  { resume }: { resume?: boolean },
): Promise<void> => {
  using connection = connect();
  if (resume) return await resumeErasures(output, connection, task ?? '');
  const { erasures } = await connection.forgetting.listErasures({ task: task ?? '' });
  output.answer({ erasures: erasures.map(plain) }, () =>
    erasures.length === 0
      ? ['nothing was forgotten']
      : table([
          ['erasure', 'task', 'at', 'inputs', 'author', 'state', 'reason'],
          ...erasures.map((one) => [
            ...[one.erasureId, one.task, moment(one.requestedAt), count(one.inputs), one.author],
            ...[one.doneAt ? `done at ${moment(one.doneAt)}` : 'not done yet', one.reason],
          ]),
        ]),
  );
};

/** Goes on with erasures whose leader is gone: what they are about is in pair-store's journal. */
const resumeErasures = async (output: Output, connection: Connection, task: string): Promise<void> => {
  const { erasures } = await connection.forgetting.listErasures({ task, open: true });
  const receipts: Receipt[] = [];
  const failed: string[] = [];
  // The oldest has waited longest.
  for (const { erasureId, task: of, source, author, reason } of erasures.toReversed()) {
    try {
      const receipt = await erase(connection, of, () => [], { source, author, reason, erasureId });
      receipts.push(receipt);
      if (!isWhole(receipt)) failed.push(`${erasureId}: ${Object.values(receipt.missing).join('; ')}`);
    } catch (error) {
      failed.push(`${erasureId}: ${messageOf(error)}`);
    }
  }
  output.answer({ erasures: receipts.map(jsonOf) }, () => receipts.flatMap(linesOf));
  if (failed.length > 0) throw new ExitError(exitCodes.failed, `not done yet: ${failed.join('; ')}`);
};

const plain = ({ steps, requestedAt, doneAt, $typeName: _, ...erasure }: Erasure) => ({
  ...erasure,
  requestedAt: moment(requestedAt),
  doneAt: doneAt ? moment(doneAt) : null,
  steps: steps.map(({ step, erased, students }) => ({
    ...{ step, students },
    erased: Object.fromEntries(Object.entries(erased).map(([kind, times]) => [kind, Number(times)])),
  })),
});

const jsonOf = ({ erasure, students, quarantined, remains, missing }: Receipt) => ({
  ...{ ...plain(erasure), learnt: students.learnt, judged: students.judged, quarantined, remains, missing },
});

const linesOf = ({ erasure, students, quarantined, remains, missing }: Receipt): string[] => {
  const { task, inputs, erasureId, author, reason, source } = erasure;
  const of = source === '' ? '' : ` from ${source}`;
  const { learnt, judged } = students;
  const fate = quarantined ? 'quarantined' : 'kept, as forget.students says';
  return [
    `erasure ${erasureId}: ${count(inputs)} inputs of ${task}${of}, by ${author}: ${reason}`,
    ...table(erasure.steps.map(({ step, erased }) => [step in missing ? '✗' : '✓', step, countsOf(erased)])),
    ...Object.entries(missing).map(([step, why]) => `✗ ${step}: ${why}`),
    ...learnt.map((digest) => `student ${digest.slice(0, 12)} learnt from it: ${fate}`),
    ...judged.map((digest) => `student ${digest.slice(0, 12)} was judged with it: kept`),
    ...(learnt.length + judged.length === 0 ? ['no student learnt from it or was judged with it'] : []),
    ...remains.map((line) => `remains: ${line}`),
  ];
};

const countsOf = (erased: Readonly<Record<string, bigint>>): string => {
  const some = Object.entries(erased).filter(([, times]) => times > 0n);
  return some.length === 0
    ? 'nothing there'
    : some.map(([kind, times]) => `${count(Number(times))} ${kind}`).join(', ');
};
