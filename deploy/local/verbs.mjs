// What each command of the repository runs, once everything is set up: scripts for Node.js, one after the other.
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** @param {string} path relative to the repository */
const at = (path) => `${root}${path}`;

const vitest = [at('node_modules/vitest/vitest.mjs'), 'run', '--root', root];

/** Exactly what CI checks before the tests; the style test, which is one of them, apart. */
const checks = [
  [at('node_modules/typescript/bin/tsc'), '--noEmit', '-p', root],
  [at('node_modules/@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', root],
  [at('node_modules/@bufbuild/buf/bin/buf'), 'lint', root],
  [at('deploy/checks/generated.ts')],
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
    commands: (args) => [...checks, [...vitest, ...args]],
  },
  check: { needsNatsServer: false, commands: () => [...checks, [...vitest, 'test/style', 'packages/contract']] },
  gen: {
    needsNatsServer: false,
    commands: () => [[at('deploy/checks/generated.ts'), '--write'], [at('packages/contract/asyncapi.ts')]],
  },
  bench: { needsNatsServer: true, commands: ([name = '', ...args]) => [[at('test/bench/main.ts'), name, ...args]] },
};
