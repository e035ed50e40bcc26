/** A thread for one student at a time, so that neither loading nor inference holds up a client's connection. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '@understudy/service/errors';
import { Predictor } from './predictor.ts';
import type { FromThread, ToThread } from './protocol.ts';

const port = parentPort;
if (!port) throw new Error('worker.ts runs as a worker thread');

let predictor: Predictor | undefined;

const handle = async (message: ToThread): Promise<FromThread> => {
  if (message.kind === 'load') {
    predictor = await Predictor.open(message.material);
    return { kind: 'done' };
  }
  if (!predictor) throw new Error(`expected a student to be loaded before ${message.kind}`);
  if (message.kind === 'predict') return { kind: 'predicted', predictions: await predictor.predict(message.texts) };
  await predictor.close();
  predictor = undefined;
  return { kind: 'done' };
};

port.on('message', async (message: ToThread) => {
  try {
    port.postMessage(await handle(message));
  } catch (error) {
    port.postMessage({ kind: 'failed', message: messageOf(error) } satisfies FromThread);
  }
});
