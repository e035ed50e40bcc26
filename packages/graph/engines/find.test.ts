import { describe, expect, it } from 'vitest';
import { RUNTIME_VERSION } from '../session.ts';
import { choosePlace, type Finding, findPlaces, type Place, type Wish } from './find.ts';

const PLACES: readonly Place[] = [
  { engine: 'ort', device: 'cuda' },
  { engine: 'tfjs', device: 'cuda' },
  { engine: 'ort', device: 'webgpu' },
  { engine: 'ort', device: 'cpu' },
  { engine: 'tfjs', device: 'cpu' },
];

/** A machine on which only some places work. */
const machine = (...works: string[]): Finding[] =>
  PLACES.map((place) => {
    const usable = works.includes(`${place.engine} ${place.device}`);
    return { ...place, usable, detail: usable ? 'version 1' : `no ${place.device}` };
  });

const CPU_ONLY = machine('ort cpu', 'tfjs cpu');
const WEBGPU = machine('ort cpu', 'tfjs cpu', 'ort webgpu');
const CUDA = machine('ort cpu', 'tfjs cpu', 'ort webgpu', 'ort cuda', 'tfjs cuda');
const TFJS_CUDA = machine('ort cpu', 'tfjs cpu', 'tfjs cuda');

async function chosen(engine: Wish['engine'], device: Wish['device'], findings: readonly Finding[]): Promise<string> {
  const choice = await choosePlace({ engine, device }, 1, findings);
  return `${choice.engine} ${choice.device}`;
}

describe('the choice of a place', () => {
  it.each([
    ['auto', 'auto', CPU_ONLY, 'ort cpu'],
    ['auto', 'auto', WEBGPU, 'ort cpu'],
    ['auto', 'auto', CUDA, 'ort cuda'],
    ['auto', 'auto', TFJS_CUDA, 'tfjs cuda'],
    ['auto', 'gpu', WEBGPU, 'ort webgpu'],
    ['auto', 'gpu', CUDA, 'ort cuda'],
    ['auto', 'cpu', CUDA, 'ort cpu'],
    ['auto', 'webgpu', CUDA, 'ort webgpu'],
    ['tfjs', 'auto', CPU_ONLY, 'tfjs cpu'],
    ['tfjs', 'gpu', CUDA, 'tfjs cuda'],
    ['ort', 'auto', TFJS_CUDA, 'ort cpu'],
  ] as const)('engine %s, device %s', async (engine, device, findings, expected) => {
    expect(await chosen(engine, device, findings)).toBe(expected);
  });

  it('says what was chosen, and why nothing better was', async () => {
    const { reason } = await choosePlace({ engine: 'auto', device: 'auto' }, 1, CPU_ONLY);
    expect(reason).toBe('ort on cpu (version 1); not ort on cuda: no cuda; not tfjs on cuda: no cuda');
  });

  it('refuses what is asked for and not there, with every reason', async () => {
    await expect(chosen('auto', 'gpu', CPU_ONLY)).rejects.toThrow(
      'nothing can train here as asked (engine auto on device gpu): ' +
        'not ort on cuda: no cuda; not tfjs on cuda: no cuda; not ort on webgpu: no webgpu',
    );
    await expect(chosen('tfjs', 'webgpu', CUDA)).rejects.toThrow('there is no such place');
  });
});

it('finds the places of this machine by trying them', async () => {
  const findings = await findPlaces();
  expect(findings.map(({ engine, device }) => ({ engine, device }))).toEqual(PLACES);
  const [, , , onCpu, tfjsOnCpu] = findings;
  expect(onCpu).toMatchObject({ usable: true, detail: RUNTIME_VERSION });
  expect(tfjsOnCpu).toMatchObject({ usable: true, detail: expect.stringMatching(/^tfjs-core 4\.\d+\.\d+ on \S+/) });
  for (const { usable, detail } of findings) if (!usable) expect(detail).not.toBe('');
});
