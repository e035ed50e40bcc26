import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importModel } from './import.ts';

const run = promisify(execFile);

describe('the examples of the README', () => {
  let folder: string;
  let examples: string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'graph-readme-'));
    const readme = await readFile(join(import.meta.dirname, 'README.md'), 'utf8');
    examples = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code as string);
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** Runs an example as a program of its own, in an empty folder. */
  async function output(example: number): Promise<string> {
    const here = (name: string) => pathToFileURL(join(import.meta.dirname, name)).href;
    const code = (examples[example] as string)
      .replace("'@understudy/graph'", `'${here('index.ts')}'`)
      .replace("new URL('./fixtures/", `new URL('${here('fixtures/')}`);
    const file = join(folder, `example-${example}.ts`);
    await writeFile(file, code);
    return (await run(process.execPath, [file], { cwd: folder })).stdout;
  }

  it('learns XOR', async () => {
    expect(await output(0)).toBe('odds [ 0, 1, 1, 0 ]\n');
  });

  it('fine-tunes an encoder and saves it with int8 weights', async () => {
    const [, first, last] = /loss (\S+) to (\S+)/.exec(await output(1)) ?? [];
    expect(Number(first)).toBeCloseTo(Math.log(2), 2);
    expect(Number(last)).toBeLessThan(0.1);
    const { graph, parameters } = await importModel(join(folder, 'tuned.onnx'));
    expect(graph.outputs[0]?.value.shape).toEqual(['batch', 2]);
    expect(parameters.every(({ tensor: { dims } }) => dims.length === 1 || dims.includes(1))).toBe(true);
  });
});
