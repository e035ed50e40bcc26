/** What only a folder must survive: killed writers, full disks, missing rights. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { digestOf } from './blob-store.ts';
import { FolderBlobStore } from './folder.ts';

const MODULE = path.join(import.meta.dirname, 'folder.ts');
const NOBODY = 65_534;
const TWO_HOURS_MS = 2 * 60 * 60 * 1000;

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'understudy-folder-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** A program that opens the store in `root` and does `body` with it; errors come out as their code and message. */
const program = (body: string) => `
  import { FolderBlobStore } from ${JSON.stringify(MODULE)};
  try {
    const store = await FolderBlobStore.open(${JSON.stringify(root)});
    ${body}
  } catch (error) { console.log(error.code, error.message); }`;

const nodeArguments = (body: string) => ['--input-type=module-typescript', '-e', program(body)];

describe('a folder of blobs', () => {
  it('holds only whole blobs after its writers were killed', async () => {
    await FolderBlobStore.open(root);
    for (let round = 0; round < 4; round++) {
      const writer = spawn(
        process.execPath,
        nodeArguments(`
          for (let i = 0; ; i++) {
            await store.put('snapshots', new Uint8Array(4_000_000).fill(i % 251).fill(${round}, 0, 9).fill(i >> 8, 9, 20));
            await store.putNamed('checkpoints/only', new Uint8Array(1_000_000).fill(i));
            console.log(i);
          }`),
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const exited = new Promise((resolve) => writer.once('exit', resolve));
      let written = 0;
      for await (const _line of writer.stdout) {
        written += 1;
        if (written > round) break;
      }
      writer.kill('SIGKILL');
      await exited;
    }
    const names = await readdir(path.join(root, 'snapshots'));
    expect(names.length).toBeGreaterThan(3);
    for (const name of names) expect(digestOf(await readFile(path.join(root, 'snapshots', name)))).toBe(name);
    const store = await FolderBlobStore.open(root);
    const named = await store.getNamed('checkpoints/only');
    expect(named?.length).toBe(1_000_000);
    expect(named?.every((value) => value === named[0])).toBe(true);
  });

  it('repairs a damaged blob when it is put again', async () => {
    const store = await FolderBlobStore.open(root);
    const bytes = Buffer.from('a snapshot');
    const digest = await store.put('snapshots', bytes);
    await writeFile(path.join(root, 'snapshots', digest), 'a snapsh');
    await store.put('snapshots', bytes);
    expect(Buffer.from(await store.get('snapshots', digest)).toString()).toBe('a snapshot');
  });

  it('leaves a blob that is there untouched', async () => {
    const store = await FolderBlobStore.open(root);
    const digest = await store.put('snapshots', Buffer.from('once'));
    const file = path.join(root, 'snapshots', digest);
    const longAgo = new Date(0);
    await utimes(file, longAgo, longAgo);
    await store.put('snapshots', Buffer.from('once'));
    expect(execFileSync('stat', ['-c', '%Y', file], { encoding: 'utf8' }).trim()).toBe('0');
  });

  it('removes what dead writers left, and not what living ones write', async () => {
    await FolderBlobStore.open(root);
    const [stale, fresh] = ['1-stale', '2-fresh'].map((name) => path.join(root, '.partial', name));
    for (const file of [stale!, fresh!]) await writeFile(file, 'half');
    const then = new Date(Date.now() - TWO_HOURS_MS);
    await utimes(stale!, then, then);
    await FolderBlobStore.open(root);
    expect(await readdir(path.join(root, '.partial'))).toEqual(['2-fresh']);
  });

  it('a process that lives for long removes what others left later, when it next writes', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const store = await FolderBlobStore.open(root);
    const left = path.join(root, '.partial', 'snapshots.left');
    await writeFile(left, 'half');
    const remains = async () => {
      await store.put('snapshots', Buffer.from('whole'));
      return existsSync(left);
    };
    expect(await remains()).toBe(true);
    vi.advanceTimersByTime(TWO_HOURS_MS);
    expect(await remains()).toBe(false);
  });

  it('a writer that was taken for dead, because a clock jumped, is told to write again', async () => {
    const store = await FolderBlobStore.open(root);
    const slow = async function* () {
      yield Buffer.from('half');
      await store.removePartials('snapshots');
      yield Buffer.from('whole');
    };
    await expect(store.put('snapshots', slow())).rejects.toMatchObject({ code: 'unavailable', retryable: true });
    expect(await Array.fromAsync(store.list('snapshots', ''))).toEqual([]);
  });

  it('removes at once what was left half-written of one kind, where somebody knows that nobody writes it', async () => {
    const store = await FolderBlobStore.open(root);
    for (const name of ['snapshots.left', 'samples.of-a-living-one', 'snapshots-too.of-a-living-one'])
      await writeFile(path.join(root, '.partial', name), 'half');
    expect(await store.removePartials('snapshots')).toBe(1);
    expect((await readdir(path.join(root, '.partial'))).toSorted()).toEqual([
      'samples.of-a-living-one',
      'snapshots-too.of-a-living-one',
    ]);
    // A writer that dies leaves a file that is found by its kind.
    const endless = async function* () {
      yield Buffer.from('half');
      seen = await readdir(path.join(root, '.partial'));
      yield Buffer.from('whole');
    };
    let seen: string[] = [];
    await store.put('snapshots', endless());
    expect(seen.filter((name) => name.startsWith('snapshots.'))).toHaveLength(1);
    expect(await store.removePartials('snapshots')).toBe(0);
  });

  it('says that a quota is reached, and keeps nothing', async () => {
    await FolderBlobStore.open(root);
    const script = `ulimit -f 64; exec ${process.execPath} "$@"`;
    const { stdout } = spawnSync(
      'bash',
      ['-c', script, 'bash', ...nodeArguments(`await store.put('snapshots', new Uint8Array(1e6));`)],
      { encoding: 'utf8' },
    );
    expect(stdout).toMatch(/^no-space cannot keep a blob in .*snapshots: EFBIG.*; free space there/);
    expect(await readdir(path.join(root, '.partial'))).toEqual([]);
  });

  const whyNoMount =
    spawnSync('unshare', ['-rm', 'true']).status === 0
      ? ''
      : ' (skipped: this machine lets no test mount a small disk)';
  it.skipIf(whyNoMount)(
    `says that the disk is full, keeps nothing, and goes on once there is room${whyNoMount}`,
    () => {
      const script = `mount -t tmpfs -o size=1m none ${root} && exec ${process.execPath} "$@"`;
      const body = `
      await store.put('snapshots', new Uint8Array(3e6)).catch((error) => console.log(error.code, error.message));
      const digest = await store.put('snapshots', new Uint8Array(5e5));
      console.log((await store.get('snapshots', digest)).length);`;
      const { stdout } = spawnSync('unshare', ['-rm', 'bash', '-c', script, 'bash', ...nodeArguments(body)], {
        encoding: 'utf8',
      });
      expect(stdout).toMatch(/^no-space cannot keep a blob in .*ENOSPC.*; free space there.*\n500000\n$/);
    },
  );

  it('says who may not write, before anything is tried', async () => {
    await mkdir(path.join(root, 'snapshots'));
    chmodSync(root, 0o555);
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    const { stdout } = spawnSync(process.execPath, nodeArguments(''), { encoding: 'utf8', ...user });
    chmodSync(root, 0o755);
    expect(stdout).toMatch(/^denied cannot use .* as blob folder: EACCES.*; let this user write there/);
  });

  it('says that a file is no folder', async () => {
    const file = path.join(root, 'file');
    await writeFile(file, '');
    await expect(FolderBlobStore.open(file)).rejects.toThrow(/cannot use .*file as blob folder: E(NOTDIR|EXIST)/);
  });
});
