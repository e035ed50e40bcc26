/** What can train students on this machine, and what the trainer would choose of it. */
import { messageOf } from '@understudy/service/errors';
import type { Finding } from './commands/doctor.ts';

/** Every engine on every device, tried for real. */
export const engineFindings = async (): Promise<Finding[]> => {
  let graph: typeof import('@understudy/graph');
  try {
    graph = await import('@understudy/graph');
  } catch (error) {
    return [{ what: 'ONNX Runtime', state: 'missing', detail: messageOf(error) }];
  }
  const places = await graph.findPlaces();
  const found = places.map(
    ({ engine, device, usable, detail }): Finding => ({
      what: `engine ${engine} on ${device}`,
      state: usable ? 'ok' : engine === 'ort' && device === 'cpu' ? 'missing' : 'note',
      detail,
    }),
  );
  return [...found, await choiceFinding(graph, places)];
};

const choiceFinding = async (
  { choosePlace }: typeof import('@understudy/graph'),
  places: Awaited<ReturnType<typeof import('@understudy/graph').findPlaces>>,
): Promise<Finding> => {
  const wish = { engine: 'auto', device: 'auto' } as const;
  try {
    const { engine, device } = await choosePlace(wish, 1, places);
    const bags = device === 'cpu' ? '' : '; bags on cpu, where they are faster';
    return { what: 'training', state: 'ok', detail: `auto trains with ${engine} on ${device}${bags}` };
  } catch (error) {
    return { what: 'training', state: 'missing', detail: messageOf(error) };
  }
};
