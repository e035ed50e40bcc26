// Running other programs during set-up: found on the PATH, bounded in time, with their last words kept for the message.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';

/** Characters of a failed program's output that go into the message. */
const TAIL_CHARACTERS = 600;

/** What stopped a step of the set-up, in words for the person at the terminal. */
export class SetupError extends Error {}

/** @param {string} text one plain line */
export function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

/**
 * @param {string} name
 * @param {string[]} [further] folders to look in after those of the PATH
 * @returns {string | undefined} the path of the program
 */
export function find(name, further = []) {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...folders, ...further].map((folder) => join(folder, name)).find(isProgram);
}

/** @param {string} path */
export function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Makes a folder and those above it. Node's own recursive mkdir never returns for a path below /proc.
 * @param {string} path absolute
 */
export function makeFolder(path) {
  if (existsSync(path)) {
    if (statSync(path).isDirectory()) return;
    throw new SetupError(`${path} is no folder`);
  }
  makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
  }
}

/**
 * Runs a program to its end and returns what it printed on standard output.
 * @param {string} program
 * @param {string[]} args
 * @param {{ timeoutMs: number, cwd?: string, env?: NodeJS.ProcessEnv, showErrors?: boolean }} options `showErrors`: what the
 *   program prints on standard error goes to the terminal as it comes
 * @returns {Promise<string>}
 * @throws {SetupError} when it cannot be started, fails, or is still running after `timeoutMs`
 */
export function run(program, args, { timeoutMs, cwd, env = process.env, showErrors = false }) {
  return new Promise((resolve, reject) => {
    const shown = [basename(program), ...args.filter((arg) => !arg.startsWith('-') && !arg.includes('='))].join(' ');
    const child = spawn(program, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', showErrors ? 'inherit' : 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    const startedMs = performance.now();
    let out = '';
    let all = '';
    child.stdout?.on('data', (chunk) => {
      out += chunk;
      all += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      all += chunk;
    });
    child.on('error', (cause) => reject(new SetupError(`${shown}: ${cause.message}`, { cause })));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(out);
      const late = performance.now() - startedMs >= timeoutMs;
      const ended = late ? `was ended after ${timeoutMs / 1000} s` : `was ended by ${signal}`;
      const how = signal ? ended : `failed with exit code ${code}`;
      reject(new SetupError(`${shown} ${how}${lastWords(all)}`));
    });
  });
}

/** @param {string} output */
function lastWords(output) {
  const text = output.trim();
  return text === '' ? '' : `: ${text.slice(-TAIL_CHARACTERS).replaceAll(/\s*\n\s*/g, ' | ')}`;
}

/**
 * npm as a program and its first arguments: the one that started this process, else the one on the PATH.
 * @returns {{ program: string, args: string[] }}
 */
export function npm() {
  const started = process.env.npm_execpath;
  if (started && /npm-cli\.c?js$/.test(started)) return { program: process.execPath, args: [started] };
  const path = find('npm');
  if (!path)
    throw new SetupError('npm is needed and is not on the PATH: install Node.js with npm (https://nodejs.org)');
  return { program: path, args: [] };
}
