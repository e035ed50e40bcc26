// The packages of package-lock.json, in node_modules.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { npm, run, SetupError, say } from './commands.mjs';
import { lock } from './lock.mjs';

/** The longest that `npm ci` may take, on a slow line. */
const INSTALL_TIMEOUT_MS = 20 * 60_000;

/**
 * Installs the packages unless they are there already.
 * @param {string} root the repository
 */
export async function ensureDependencies(root) {
  if (difference(root) === undefined) return;
  const release = await lock(join(root, '.understudy', 'lock-dependencies'), 'installing packages', (holder) =>
    say(`waiting for process ${holder.pid}, which is ${holder.purpose}`),
  );
  try {
    const reason = difference(root);
    if (reason === undefined) return;
    say(`${reason}: installing packages with npm ci`);
    const { program, args } = npm();
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
    const startedMs = Date.now();
    await run(program, [...args, 'ci', ...options], { timeoutMs: INSTALL_TIMEOUT_MS, cwd: root, showErrors: true });
    const still = difference(root);
    if (still !== undefined)
      throw new SetupError(`npm ci ended well, but ${still}: is another npm at work here? Run this again.`);
    say(`packages installed in ${Math.round((Date.now() - startedMs) / 1000)} s`);
  } finally {
    release();
  }
}

/**
 * What differs between the packages that are locked and those that are installed, if anything. npm writes
 * `node_modules/.package-lock.json` as the last step of an installation.
 * @param {string} root
 * @returns {string | undefined}
 */
export function difference(root) {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return 'node_modules is missing or incomplete';
  const installed = packagesOf(record);
  for (const [path, { version, integrity, link, optional }] of Object.entries(wanted)) {
    if (!path.startsWith('node_modules/')) continue;
    const found = installed[path];
    if (!found && optional) continue; // made for another platform
    if (!found || found.version !== version || found.integrity !== integrity || found.link !== link) {
      return `${path} is not as package-lock.json wants it`;
    }
    if (!existsSync(join(root, path, 'package.json'))) return `${path} is gone`;
  }
  return undefined;
}

/**
 * @param {string} path
 * @returns {Record<string, { version?: string, integrity?: string, link?: boolean, optional?: boolean }>}
 */
function packagesOf(path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages;
}
