import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const maxFileLines = 400;
const maxMainLines = 40;

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts', '*.mjs'], {
  cwd: root,
})
  .toString()
  .split('\n')
  .filter((file) => file !== '' && !file.startsWith('packages/contract/gen/') && existsSync(join(root, file)));

const text = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
const importsOf = (file: string) =>
  [...text.get(file)!.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map((match) => match[1]!);

/** `packages/x`, `services/y`, `deploy`, `test` or `examples`: what a file belongs to. */
const homeOf = (file: string) => {
  const [top, name] = file.split('/');
  return top === 'packages' || top === 'services' ? `${top}/${name}` : top!;
};

/** Home of the file that an import names; undefined for libraries. */
const targetOf = (file: string, specifier: string): string | undefined => {
  if (specifier.startsWith('.')) return homeOf(join(dirname(file), specifier));
  const name = /^@understudy\/([^/]+)/.exec(specifier)?.[1];
  if (!name) return undefined;
  return existsSync(join(root, 'packages', name)) ? `packages/${name}` : `services/${name}`;
};

const offenders = (broken: (file: string, target: string) => boolean) =>
  files.flatMap((file) =>
    importsOf(file)
      .map((specifier) => targetOf(file, specifier))
      .filter((target): target is string => target !== undefined && broken(file, target))
      .map((target) => `${file} → ${target}`),
  );

test('imports go one way: services → packages → contract', () => {
  expect(
    offenders(
      (file, target) => file.startsWith('packages/') && !target.startsWith('packages/') && !file.endsWith('.test.ts'),
    ),
  ).toEqual([]);
  expect(offenders((file, target) => homeOf(file) === 'packages/contract' && target !== 'packages/contract')).toEqual(
    [],
  );
});

test('graph imports no other package', () => {
  expect(offenders((file, target) => homeOf(file) === 'packages/graph' && target !== 'packages/graph')).toEqual([]);
});

test('a service imports no other service', () => {
  expect(
    offenders(
      (file, target) => file.startsWith('services/') && target.startsWith('services/') && homeOf(file) !== target,
    ),
  ).toEqual([]);
});

test('the packages and services that others share hold no domain word', () => {
  const words = /\b(teacher|student|snapshot|agreement|coverage|promot\w*)\b/i;
  const shared = files.filter((file) => file.startsWith('packages/service/') && !file.endsWith('.test.ts'));
  expect(shared.filter((file) => words.test(text.get(file)!.replaceAll(/'[^'\n]*'/g, '')))).toEqual([]);
});

test(`no file is longer than ${maxFileLines} lines, unless its first lines say why`, () => {
  const long = files.filter(
    (file) =>
      text.get(file)!.split('\n').length > maxFileLines && !/\blonger than\b/.test(text.get(file)!.slice(0, 600)),
  );
  expect(long).toEqual([]);
});

test(`every service has a main of at most ${maxMainLines} lines, a config and a service`, () => {
  const services = new Set(files.filter((file) => file.startsWith('services/')).map((file) => file.split('/')[1]!));
  for (const name of services) {
    for (const part of ['main.ts', 'config.ts', 'service.ts'])
      expect(text.has(`services/${name}/${part}`), `services/${name}/${part}`).toBe(true);
    expect(text.get(`services/${name}/main.ts`)!.split('\n').length).toBeLessThanOrEqual(maxMainLines);
  }
});

test('nothing is left to do, skipped or silenced', () => {
  const marks = new RegExp(
    ['TO' + 'DO', 'FIX' + 'ME', '@ts-' + 'ignore', '@ts-' + 'nocheck', '\\.on' + 'ly\\('].join('|'),
  );
  expect(files.filter((file) => marks.test(text.get(file)!))).toEqual([]);
});

test('only the contract spells subjects', () => {
  const spelled =
    /'(?:[a-z-]+\.)*(?:prompt\.submitted|teacher\.answered|pairs\.sealed|student\.trained|eval\.passed)\.[a-z*>]/;
  const outside = files.filter(
    (file) => homeOf(file) !== 'packages/contract' && !file.endsWith('.test.ts') && !file.startsWith('test/'),
  );
  expect(outside.filter((file) => spelled.test(text.get(file)!))).toEqual([]);
});
