import { createWriteStream } from 'node:fs';
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '@understudy/service/errors';
import { MAX_HUB_FILE_BYTES } from '../limits.ts';

/** What an encoder's folder holds: of the files in a row the first that the hub has. */
const FILES = [
  { names: ['config.json'], required: true },
  { names: ['tokenizer.json'], required: true },
  { names: ['tokenizer_config.json'], required: true },
  { names: ['onnx/model.onnx', 'model.onnx'], required: true },
  { names: ['1_Pooling/config.json'], required: false },
];

/** An encoder that a hub does not give. */
export class HubError extends Error {
  override readonly name = 'HubError';
}

/**
 * The folder of a hub's encoder, fetched unless it is there already. It appears under its name when all of it is there.
 * @param encoder `owner/name@commit`
 * @param signal ends the fetching
 * @throws HubError naming the file and what the hub said
 */
export async function fetchEncoder(
  encoder: string,
  hubUrl: string,
  encodersFolder: string,
  signal: AbortSignal,
): Promise<string> {
  const folder = join(encodersFolder, encoder.replace('/', '--'));
  if (await exists(folder)) return folder;
  await mkdir(encodersFolder, { recursive: true });
  const unfinished = await mkdtemp(join(encodersFolder, 'unfinished-'));
  try {
    await fetchFiles(encoder, hubUrl, unfinished, signal);
    await rename(unfinished, folder);
  } catch (error) {
    // Another trainer on this folder may have been faster.
    if (!(await exists(folder))) throw error;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return folder;
}

async function fetchFiles(encoder: string, hubUrl: string, folder: string, signal: AbortSignal): Promise<void> {
  const [repository, commit] = encoder.split('@');
  const fetchOne = (name: string): Promise<boolean> =>
    fetchFile(`${hubUrl}/${repository}/resolve/${commit}/${name}`, join(folder, name), signal);
  for (const { names, required } of FILES) {
    let found = false;
    for (const name of names) found ||= await fetchOne(name);
    if (!found && required) throw new HubError(`${hubUrl} has no ${names.join(' or ')} in ${encoder}`);
  }
}

/** False where the hub has no such file. */
async function fetchFile(url: string, file: string, signal: AbortSignal): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal });
    if (answer.status === 404) return false;
    if (!answer.ok || !answer.body) throw new HubError(`the hub answered ${answer.status}`);
    await mkdir(dirname(file), { recursive: true });
    await pipeline(Readable.fromWeb(answer.body), atMost(MAX_HUB_FILE_BYTES), createWriteStream(file));
    return true;
  } catch (cause) {
    throw new HubError(`${url} cannot be fetched: ${messageOf(cause)}; put the encoder into a folder instead`, {
      cause,
    });
  }
}

function atMost(limitBytes: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      if (bytes <= limitBytes) done(null, chunk);
      else done(new HubError(`it has more than ${limitBytes} bytes`));
    },
  });
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
