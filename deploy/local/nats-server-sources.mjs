// The ways to get the nats-server program. Each takes an empty folder to work in and returns the path of the program.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { find, run, SetupError } from './commands.mjs';

/** The release that is fetched or built. */
export const RELEASE = '2.14.0';

// SHA-256 of the archives of that release, from the SHA256SUMS beside them.
const ARCHIVES = {
  'linux-x64': ['linux-amd64', '3d8b74dfad39af184c765a6dd120441ed1c648d6672eddf6b304f222661251b8'],
  'linux-arm64': ['linux-arm64', 'ce7dc5f7d97b70dabc38b13157fed28d7d06227860676143c15c62c5c297996c'],
  'darwin-x64': ['darwin-amd64', 'c307afaa5810dea24bfe5bb0cd895ddc7c47946f359823336ef3be1a41bdddfa'],
  'darwin-arm64': ['darwin-arm64', '36f28cf166e5ae5dd88d700a609c810b97ffad641e0c51b49cf8fae25fb3fac7'],
};

/** A server that sends nothing for this long is taken for unreachable, so that a machine without network moves on. */
const SILENCE_TIMEOUT_MS = 8_000;
const DOWNLOAD_TIMEOUT_MS = 5 * 60_000;
const UNPACK_TIMEOUT_MS = 60_000;
/** Asking Go's module proxy for one version. */
const GO_LOOKUP_TIMEOUT_MS = 45_000;
/** Measured: about two minutes on two cores, with nothing cached. */
const GO_BUILD_TIMEOUT_MS = 15 * 60_000;
/** Where Go's own installer puts it, which few PATHs name. */
const GO_FOLDERS = ['/usr/local/go/bin'];
const APT_TIMEOUT_MS = 3 * 60_000;

/** @param {string} folder */
export async function downloadRelease(folder) {
  const [platform, sha256] =
    ARCHIVES[/** @type {keyof typeof ARCHIVES} */ (`${process.platform}-${process.arch}`)] ?? [];
  if (!platform) throw new SetupError(`there is none for ${process.platform} on ${process.arch}`);
  const tar = find('tar');
  if (!tar) throw new SetupError('tar, which unpacks it, is not on the PATH');
  const name = `nats-server-v${RELEASE}-${platform}`;
  const url = `https://github.com/nats-io/nats-server/releases/download/v${RELEASE}/${name}.tar.gz`;
  const bytes = await download(url);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256)
    throw new SetupError(`${url}: SHA-256 ${sha256} was expected, ${found} came: nothing of it is used`);
  const archive = join(folder, 'archive.tar.gz');
  writeFileSync(archive, bytes);
  await run(tar, ['-xzf', archive, '-C', folder], { timeoutMs: UNPACK_TIMEOUT_MS });
  return join(folder, name, 'nats-server');
}

/** @param {string} url */
async function download(url) {
  const silence = new AbortController();
  const giveUp = () => silence.abort(new Error(`nothing came for ${SILENCE_TIMEOUT_MS / 1000} s`));
  let timer = setTimeout(giveUp, SILENCE_TIMEOUT_MS);
  try {
    const signal = AbortSignal.any([silence.signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]);
    const response = await fetch(url, { signal });
    if (!response.ok || !response.body) throw new SetupError(`${url}: HTTP status ${response.status}`);
    const chunks = [];
    for await (const chunk of response.body) {
      chunks.push(chunk);
      clearTimeout(timer);
      timer = setTimeout(giveUp, SILENCE_TIMEOUT_MS);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if (error instanceof SetupError) throw error;
    const { message, cause } = /** @type {Error} */ (error);
    throw new SetupError(`${url}: ${cause instanceof Error ? cause.message : message}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string} folder */
export async function buildWithGo(folder) {
  const go = find('go', GO_FOLDERS);
  if (!go) throw new SetupError('go is not on the PATH');
  const module = `github.com/nats-io/nats-server/v2@v${RELEASE}`;
  // cgo is not needed, and needs a C compiler; flags of the user's own projects must not reach this build.
  const env = { ...process.env, GOBIN: folder, CGO_ENABLED: '0', GOFLAGS: '', GO111MODULE: 'on' };
  await run(go, ['list', '-m', module], { timeoutMs: GO_LOOKUP_TIMEOUT_MS, cwd: folder, env });
  await run(go, ['install', module], { timeoutMs: GO_BUILD_TIMEOUT_MS, cwd: folder, env });
  return join(folder, 'nats-server');
}

/**
 * Downloads and unpacks the package without installing it: that needs no root, and installing would start a server of
 * the system's own beside ours.
 * @param {string} folder
 */
export async function fetchDebianPackage(folder) {
  const [apt, dpkg] = [find('apt-get'), find('dpkg')];
  if (!apt || !dpkg) throw new SetupError('apt-get and dpkg are not on the PATH');
  const lists = '/var/lib/apt/lists';
  const known = existsSync(lists) && readdirSync(lists).some((name) => /_Packages(\.|$)/.test(name));
  const direct = known ? await failureOf(aptDownload(apt, folder, [])) : new SetupError('no package lists');
  if (direct) {
    const own = ownAptState(folder);
    await run(apt, [...own, '-o', 'APT::Update::Error-Mode=any', 'update'], { timeoutMs: APT_TIMEOUT_MS });
    await aptDownload(apt, folder, own);
  }
  const archive = readdirSync(folder).find((name) => name.endsWith('.deb'));
  if (!archive) throw new SetupError('apt-get download left no package');
  await run(dpkg, ['-x', archive, 'unpacked'], { timeoutMs: UNPACK_TIMEOUT_MS, cwd: folder });
  const program = ['usr/sbin/nats-server', 'usr/bin/nats-server']
    .map((path) => join(folder, 'unpacked', path))
    .find(existsSync);
  if (!program) throw new SetupError(`${archive} holds no nats-server`);
  return program;
}

/**
 * @param {string} apt
 * @param {string} folder
 * @param {string[]} options
 */
async function aptDownload(apt, folder, options) {
  await run(apt, [...options, '-o', 'APT::Sandbox::User=', 'download', 'nats-server'], {
    timeoutMs: APT_TIMEOUT_MS,
    cwd: folder,
  });
}

/**
 * Options that keep apt's lists and cache in a folder of ours, where they can be made without root.
 * @param {string} folder
 */
function ownAptState(folder) {
  const state = join(folder, 'apt');
  for (const part of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(state, part), { recursive: true });
  const settings = { 'Dir::State': state, 'Dir::Cache': join(state, 'cache'), 'APT::Sandbox::User': '' };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** @param {Promise<void>} step */
async function failureOf(step) {
  try {
    await step;
    return undefined;
  } catch (error) {
    if (error instanceof SetupError) return error;
    throw error;
  }
}
