/** `npm run bench NAME`: runs one benchmark. */
const benches: Record<string, () => Promise<{ run(): Promise<void> }>> = {
  active: () => import('./active.ts'),
  faults: () => import('./faults.ts'),
  gate: () => import('./gate.ts'),
  'give-up': () => import('./give-up.ts'),
  goals: () => import('./goals.ts'),
  pipeline: () => import('./pipeline.ts'),
  proxy: () => import('./proxy.ts'),
  replicas: () => import('./replicas.ts'),
  serve: () => import('./serve.ts'),
  structured: () => import('./structured.ts'),
  students: () => import('./students.ts'),
  train: () => import('./train.ts'),
  written: () => import('./written.ts'),
};

const name = process.argv[2] ?? '';
const load = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (!load) {
  process.stderr.write(
    `npm run bench NAME, with NAME one of ${Object.keys(benches).join(', ')}; came ${JSON.stringify(name)}\n`,
  );
  process.exit(2);
}
await (await load()).run();
