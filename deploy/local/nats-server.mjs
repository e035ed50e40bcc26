// nats-server: on the PATH, else fetched earlier, else the official release, else built by Go, else Debian's package.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { find, isProgram, run, SetupError, say } from './commands.mjs';
import { lock } from './lock.mjs';
import { buildWithGo, downloadRelease, fetchDebianPackage, RELEASE } from './nats-server-sources.mjs';

/** From here on, every stream and publish option that the platform uses is honoured, and no flaw that is known to us is open. */
const WANTED = [2, 12, 0];

/** What Debian 12 has. Measured: all that the platform does works on it; it ignores newer options silently and has known flaws. */
const ACCEPTED = [2, 9, 10];

const VERSION_TIMEOUT_MS = 10_000;

/** Tries to find a newer server than an accepted old one are repeated after this time. */
const RETRY_AFTER_MS = 24 * 3_600_000;

/**
 * @param {string} tools the folder that keeps fetched tools
 * @returns {Promise<string>} the path of a usable nats-server
 * @throws {SetupError} naming everything that was tried
 */
export async function ensureNatsServer(tools) {
  const present = await choosePresent(tools, triedLately(tools));
  if (present) return present;
  const release = await lock(join(tools, 'lock-nats-server'), 'fetching nats-server', (holder) =>
    say(`waiting for process ${holder.pid}, which is ${holder.purpose}`),
  );
  try {
    return (await choosePresent(tools, triedLately(tools))) ?? (await obtain(tools));
  } finally {
    release();
  }
}

/**
 * The servers that are here already, best first.
 * @param {string} tools
 * @returns {Promise<{ path: string, version: string }[]>}
 */
export async function presentServers(tools) {
  const paths = [find('nats-server'), officialPath(tools), debianPath(tools)];
  const found = [];
  for (const path of paths) {
    const version = path && isProgram(path) ? await versionOf(path) : undefined;
    if (path && version) found.push({ path, version });
  }
  return found;
}

/**
 * @param {string} tools
 * @param {boolean} acceptOld whether there is no use in looking for a newer one
 */
async function choosePresent(tools, acceptOld) {
  const servers = await presentServers(tools);
  const good = servers.find(({ version }) => atLeast(version, WANTED));
  if (good) return good.path;
  const old = servers.find(({ version }) => atLeast(version, ACCEPTED));
  if (!old || !acceptOld) return undefined;
  say(oldMessage(old));
  return old.path;
}

/** @param {string} tools */
async function obtain(tools) {
  const failures = [];
  for (const server of await presentServers(tools)) failures.push(`${server.path} is ${server.version}`);
  if (failures.length === 0) failures.push('none on the PATH');
  say(`nats-server ${WANTED.join('.')} or newer is not here (${failures.join(', ')})`);
  const sources = [
    { about: `the official release ${RELEASE}`, get: downloadRelease },
    { about: `building ${RELEASE} with Go`, get: buildWithGo },
  ];
  for (const { about, get } of sources) {
    const failure = await attempt(about, () => place(officialPath(tools), get));
    if (failure === undefined) return officialPath(tools);
    failures.push(failure);
  }
  writeFileSync(recordPath(tools), JSON.stringify({ triedAt: new Date().toISOString(), failures }));

  const before = await choosePresent(tools, true);
  if (before) return before;
  const failure = await attempt("Debian's package", () => place(debianPath(tools), fetchDebianPackage));
  if (failure !== undefined) throw noServer([...failures, failure]);
  const after = await choosePresent(tools, true);
  if (!after) throw noServer([...failures, `Debian's package is older than ${ACCEPTED.join('.')}`]);
  return after;
}

/**
 * @param {string} about
 * @param {() => Promise<void>} get
 * @returns {Promise<string | undefined>} why it failed
 */
async function attempt(about, get) {
  say(`nats-server: trying ${about}`);
  const startedMs = Date.now();
  try {
    await get();
    say(`nats-server: done in ${Math.round((Date.now() - startedMs) / 1000)} s`);
    return undefined;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`nats-server: ${error.message}`);
    return `${about}: ${error.message}`;
  }
}

/**
 * Lets `get` put the program into an empty folder, checks that it runs, and moves it to its place.
 * @param {string} path
 * @param {(folder: string) => Promise<string>} get returns the path of the program
 */
async function place(path, get) {
  const work = `${dirname(path)}.part`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    const program = await get(work);
    if (!(await versionOf(program))) throw new SetupError(`${program} does not say its version`);
    mkdirSync(dirname(path), { recursive: true });
    renameSync(program, path);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** @param {string[]} failures */
function noServer(failures) {
  const tried = failures.map((failure) => `\n  - ${failure}`).join('');
  const advice = `Put nats-server ${WANTED.join('.')} or newer on the PATH (https://nats.io/download) and start again.`;
  return new SetupError(`no usable nats-server was found or could be had. Tried:${tried}\n${advice}`);
}

/** @param {{ path: string, version: string }} server */
function oldMessage({ path, version }) {
  return `nats-server ${version} (${path}) is used, on loopback only: it has known flaws that ${WANTED.join('.')} and newer have not`;
}

/** @param {string} tools */
const officialPath = (tools) => join(tools, `nats-server-${RELEASE}`, 'nats-server');
/** @param {string} tools */
const debianPath = (tools) => join(tools, 'nats-server-debian', 'nats-server');
/** @param {string} tools */
const recordPath = (tools) => join(tools, 'nats-server-tried.json');

/** @param {string} tools */
function triedLately(tools) {
  if (!existsSync(recordPath(tools))) return false;
  return Date.now() - Date.parse(JSON.parse(readFileSync(recordPath(tools), 'utf8')).triedAt) < RETRY_AFTER_MS;
}

/**
 * @param {string} path
 * @returns {Promise<string | undefined>} `2.14.0`; undefined when it cannot be run or says something else
 */
async function versionOf(path) {
  try {
    return /nats-server: v([0-9]+\.[0-9]+\.[0-9]+)/.exec(
      await run(path, ['--version'], { timeoutMs: VERSION_TIMEOUT_MS }),
    )?.[1];
  } catch (error) {
    if (error instanceof SetupError) return undefined;
    throw error;
  }
}

/**
 * @param {string} version
 * @param {number[]} minimum
 */
function atLeast(version, minimum) {
  const parts = version.split('.').map(Number);
  for (const [place, wanted] of minimum.entries()) {
    if (parts[place] !== wanted) return (parts[place] ?? 0) > wanted;
  }
  return true;
}
