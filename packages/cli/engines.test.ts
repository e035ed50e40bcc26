import { checkDevice } from '@understudy/graph';
import { expect, it } from 'vitest';
import { engineFindings } from './engines.ts';

it('says of every engine and device whether it works here, or why not, and what auto takes', async () => {
  const findings = new Map((await engineFindings()).map(({ what, ...finding }) => [what, finding]));
  expect([...findings.keys()]).toEqual([
    'engine ort on cuda',
    'engine tfjs on cuda',
    'engine ort on webgpu',
    'engine ort on cpu',
    'engine tfjs on cpu',
    'training',
  ]);
  expect(findings.get('engine ort on cpu')).toEqual({
    state: 'ok',
    detail: expect.stringContaining('onnxruntime-node'),
  });
  expect(findings.get('engine tfjs on cpu')).toEqual({ state: 'ok', detail: expect.stringContaining('tfjs-core 4.') });

  const webgpu = findings.get('engine ort on webgpu');
  const works = await checkDevice('webgpu').then(
    () => true,
    () => false,
  );
  expect(webgpu?.state).toBe(works ? 'ok' : 'note');
  if (!works) expect(webgpu?.detail).toContain('WebGPU adapter');

  // What is not there comes with the command that gets it, or with why nothing does.
  const cuda = findings.get('engine ort on cuda');
  if (cuda?.state === 'note')
    expect(cuda.detail).toMatch(/ONNXRUNTIME_NODE_INSTALL=cuda12|for linux\/x64 only|CUDA|cuda/);
  const tfjsCuda = findings.get('engine tfjs on cuda');
  if (tfjsCuda?.state === 'note') expect(tfjsCuda.detail).toMatch(/npm (install|rebuild) .*tfjs-node-gpu|finds no GPU/);

  const gpu = [cuda, tfjsCuda].find(({ state } = { state: 'note', detail: '' }) => state === 'ok');
  expect(findings.get('training')?.detail).toMatch(
    gpu ? /^auto trains with \w+ on cuda; bags on cpu/ : /^auto trains with ort on cpu$/,
  );
});
