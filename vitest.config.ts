import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Tests start real servers and train real students: a slow machine must not fail them, a hang must.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    include: ['{packages,services,deploy,test,examples}/**/*.test.ts'],
    // Two cores: more files at once only makes each of them slower.
    maxWorkers: 2,
  },
});
