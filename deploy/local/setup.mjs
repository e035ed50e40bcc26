// The one entry of every command of this repository: sets up what is missing, then runs the verb. Plain JavaScript
// without dependencies, because it is what makes the rest runnable.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeFolder, SetupError } from './commands.mjs';
import { ensureDependencies } from './dependencies.mjs';
import { ensureNatsServer } from './nats-server.mjs';
import { ensureNode } from './node.mjs';
import { verbs } from './verbs.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

try {
  process.exitCode = await main(process.argv[2] ?? '', process.argv.slice(3));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`setup: ${error.message}\n`);
  process.exitCode = 2;
}

/**
 * @param {string} name
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
async function main(name, args) {
  const verb = verbs[name];
  if (!verb) throw new SetupError(`${JSON.stringify(name)} is no verb; there are ${Object.keys(verbs).join(', ')}`);
  const tools = toolsFolder();
  const node = await ensureNode(tools);
  usePath(dirname(node));
  if (node !== process.execPath)
    return await execute(node, [fileURLToPath(import.meta.url), name, ...args], process.cwd());
  await ensureDependencies(root);
  if (verb.needsNatsServer) usePath(dirname(await ensureNatsServer(tools)));
  usePath(join(root, 'node_modules', '.bin'));
  // Compiled code is kept from process to process: it is half of what a service's start costs.
  process.env.NODE_COMPILE_CACHE ||= join(root, 'node_modules', '.cache', 'node');
  const folder = verb.inUsersFolder ? (process.env.INIT_CWD ?? process.cwd()) : root;
  for (const command of verb.commands(args)) {
    const code = await execute(process.execPath, command, folder);
    if (code !== 0) return code;
  }
  return 0;
}

/** `UNDERSTUDY_DATA` is where everything that is not in the repository lives. */
function toolsFolder() {
  const tools = join(resolve(root, process.env.UNDERSTUDY_DATA || '.understudy'), 'tools');
  try {
    makeFolder(tools);
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    throw new SetupError(`the data folder must be writable (set UNDERSTUDY_DATA to another one): ${message}`);
  }
  return tools;
}

/** @param {string} folder programs here come before those of the same name elsewhere */
function usePath(folder) {
  const path = (process.env.PATH ?? '').split(delimiter);
  if (path[0] !== folder) process.env.PATH = [folder, ...path].join(delimiter);
}

/**
 * Runs a command with this process's terminal, to its end. A terminal sends Ctrl-C to the command
 * too, and SIGTERM is passed on; this process stays until the command has ended.
 * @param {string} program
 * @param {string[]} args
 * @param {string} folder
 * @returns {Promise<number>} the exit code, as a shell would give it
 */
function execute(program, args, folder) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: folder, stdio: 'inherit' });
    const passOn = () => child.kill('SIGTERM');
    const stay = () => {};
    process.on('SIGTERM', passOn).on('SIGHUP', passOn).on('SIGINT', stay);
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      process.off('SIGTERM', passOn).off('SIGHUP', passOn).off('SIGINT', stay);
      resolve(code ?? 128 + constants.signals[/** @type {NodeJS.Signals} */ (signal)]);
    });
  });
}
