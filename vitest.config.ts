import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/harness/longest-first.ts';

export default defineConfig({
  test: {
    // Tests start real servers and train real students: a machine ten times slower must not fail them, a hang must.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    // What a test waits for comes, or never does.
    expect: { poll: { timeout: 300_000, interval: 20 } },
    setupFiles: ['test/harness/fixed-seed.ts'],
    include: ['{packages,services,deploy,test,examples}/**/*.test.ts'],
    // For two cores: the files that take longest mostly wait, for a process that starts or a lease that runs out.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
  },
});
