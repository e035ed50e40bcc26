import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const root = resolve(import.meta.dirname, '../..');

/** The files that take longest, those that wait for servers and outages among those that compute. */
const longest = [
  'test/chaos/kill.test.ts',
  'test/e2e/structured.test.ts',
  'services/teacher-gateway/crash.test.ts',
  'services/trainer/ladder.test.ts',
  'services/teacher-gateway/reservations.test.ts',
  'test/e2e/drop-in.test.ts',
  'services/teacher-gateway/away.test.ts',
  'services/trainer/trainer.test.ts',
  'test/chaos/faults.test.ts',
  'test/e2e/loop.test.ts',
  'test/e2e/not-distillable.test.ts',
  'test/e2e/batch.test.ts',
  'services/teacher-gateway/outcomes.test.ts',
  'deploy/local/supervisor.test.ts',
  'services/teacher-gateway/spending.test.ts',
  'test/chaos/twice.test.ts',
  'services/pair-store/store/pglite.test.ts',
  'test/e2e/teacher-changes.test.ts',
  'services/prompt/crash.test.ts',
  'test/e2e/outside-program.test.ts',
  'services/pair-store/store/migrate.test.ts',
  'services/pair-store/kill.test.ts',
];

const placeOf = ({ moduleId }: TestSpecification): number => {
  const place = longest.findIndex((file) => moduleId.endsWith(`/${file}`));
  return place === -1 ? longest.length : place;
};

/**
 * The same order in every checkout: vitest remembers where it ran before, and begins with the largest files where it did
 * not. A small file that runs a whole platform for a minute would then be the last one, with nothing beside it.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const gone = longest.filter((file) => !existsSync(resolve(root, file)));
    if (gone.length > 0) throw new Error(`test/harness/longest-first.ts names files that are not there: ${gone}`);
    const sorted = await super.sort(files);
    return sorted.sort((one, other) => placeOf(one) - placeOf(other));
  }
}
