// A lock between processes of one machine that a kill -9 cannot leave behind: the lock names its holder by process id
// and start time, and a holder that is gone holds nothing.
//
// Each holder is a symbolic link `<folder>/<generation>` whose target is the holder's description: creating it is one
// atomic step that fails if the name exists. The link with the highest generation decides, and is never deleted, only
// replaced by "released". So a process that read an old state either finds its generation taken, or sees a higher one
// when it looks again after creating its own.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const RELEASED = 'released';
const POLL_MS = 100;

/**
 * When a process started, as an opaque text that no other process with the same id shares; undefined if there is no such
 * process (or only its zombie).
 * @param {number} pid
 * @returns {string | undefined}
 */
export function startOf(pid) {
  if (process.platform !== 'linux') return startByPs(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may itself hold spaces and parentheses; proc(5) numbers the rest from 3.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, startTicks] = [fields[0], fields[19]];
    if (state === 'Z' || state === 'X') return undefined;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${startTicks}`;
  } catch {
    return undefined;
  }
}

/** @param {number} pid */
function startByPs(pid) {
  try {
    const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
    const line = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: 'pipe',
      env,
    }).trim();
    return line === '' ? undefined : line;
  } catch {
    return undefined;
  }
}

/**
 * Takes the lock kept in `folder`, or says who holds it.
 * @param {string} folder created if missing
 * @param {string} purpose what the holder is doing, for the message to others
 * @returns {{ release: () => void, holder?: undefined } | { holder: { pid: number, purpose: string }, release?: undefined }}
 */
export function tryLock(folder, purpose) {
  mkdirSync(folder, { recursive: true });
  for (;;) {
    const highest = generations(folder).at(-1) ?? 0;
    const holder = highest === 0 ? undefined : liveHolder(join(folder, String(highest)));
    if (holder) return { holder };
    const mine = highest + 1;
    if (!create(folder, mine, purpose)) continue;
    if (generations(folder).at(-1) !== mine) {
      rmSync(join(folder, String(mine)), { force: true });
      continue;
    }
    for (const older of generations(folder)) if (older < mine) rmSync(join(folder, String(older)), { force: true });
    return { release: () => release(folder, mine) };
  }
}

/**
 * As `tryLock`, but waits until the holder is gone.
 * @param {string} folder
 * @param {string} purpose
 * @param {(holder: { pid: number, purpose: string }) => void} onWait called once, if there is a wait
 */
export async function lock(folder, purpose, onWait) {
  let told = false;
  for (;;) {
    const { release: free, holder } = tryLock(folder, purpose);
    if (free) return free;
    if (!told) onWait(holder);
    told = true;
    await sleep(POLL_MS);
  }
}

/** @param {string} folder */
function generations(folder) {
  return readdirSync(folder)
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

/** @param {string} path */
function liveHolder(path) {
  let target;
  try {
    target = readlinkSync(path);
  } catch {
    return undefined; // Deleted since it was listed: a higher generation exists, and creating the next one will fail.
  }
  if (target === RELEASED) return undefined;
  const { pid, started, purpose } = JSON.parse(target);
  return startOf(pid) === started ? { pid, purpose } : undefined;
}

/**
 * @param {string} folder
 * @param {number} generation
 * @param {string} purpose
 */
function create(folder, generation, purpose) {
  try {
    const holder = JSON.stringify({ pid: process.pid, started: startOf(process.pid), purpose });
    symlinkSync(holder, join(folder, String(generation)));
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * @param {string} folder
 * @param {number} generation
 */
function release(folder, generation) {
  const marker = join(folder, `${generation}.released`);
  rmSync(marker, { force: true });
  symlinkSync(RELEASED, marker);
  renameSync(marker, join(folder, String(generation)));
}
