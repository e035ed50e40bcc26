// Are the generated files those that proto/ gives today? With --write: makes them so.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = 'packages/contract/gen';

const generate = (into: string) => {
  const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
  execFileSync(process.execPath, [buf, 'generate', '--output', into], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
};

/** The content of every file under a folder, by path. */
const contents = (base: string): Map<string, string> => {
  const entries = readdirSync(base, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name));
  return new Map(paths.map((path) => [path.slice(base.length + 1), readFileSync(path, 'utf8')]));
};

const check = (): string[] => {
  const fresh = mkdtempSync(join(tmpdir(), 'understudy-generated-'));
  try {
    generate(fresh);
    const [wanted, found] = [contents(join(fresh, folder)), contents(join(root, folder))];
    const paths = new Set([...wanted.keys(), ...found.keys()]);
    return [...paths].filter((path) => wanted.get(path) !== found.get(path)).sort();
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
};

if (process.argv[2] === '--write') {
  generate(root);
} else {
  const stale = check();
  for (const path of stale) console.error(`${folder}/${path} is not what proto/ generates: run npm run gen and commit`);
  process.exitCode = stale.length === 0 ? 0 : 1;
}
