// What each command of the repository runs, once everything is set up: scripts for Node.js, one after the other.
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** @param {string} path relative to the repository */
const at = (path) => `${root}${path}`;

/** Exactly what CI checks before the tests. */
const checks = [
  [at('node_modules/typescript/bin/tsc'), '--noEmit', '-p', root],
  [at('node_modules/@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', root],
  [at('node_modules/@bufbuild/buf/bin/buf'), 'lint', root],
  [at('deploy/checks/generated.ts')],
  [at('node_modules/vitest/vitest.mjs'), 'run', '--root', root, 'test/style'],
];

/**
 * @param {string} [command] of `understudy`; the user's first argument where absent
 * @returns {Verb}
 */
const understudy = (command, needsNatsServer = false) => ({
  needsNatsServer,
  inUsersFolder: true,
  commands: (args) => [[at('packages/cli/main.ts'), ...(command ? [command] : []), ...args]],
});

/**
 * @typedef {object} Verb
 * @property {boolean} needsNatsServer
 * @property {boolean} [inUsersFolder] runs where the user called npm, so that relative paths mean what they say
 * @property {(args: string[]) => string[][]} commands
 */

/** @type {Record<string, Verb>} */
export const verbs = {
  start: understudy('start', true),
  up: understudy('up', true),
  understudy: understudy(),
  test: {
    needsNatsServer: true,
    commands: (args) => [...checks, [at('node_modules/vitest/vitest.mjs'), 'run', '--root', root, ...args]],
  },
  check: { needsNatsServer: false, commands: () => checks },
  gen: { needsNatsServer: false, commands: () => [[at('deploy/checks/generated.ts'), '--write']] },
  bench: { needsNatsServer: true, commands: ([name = '', ...args]) => [[at('test/bench/main.ts'), name, ...args]] },
};
