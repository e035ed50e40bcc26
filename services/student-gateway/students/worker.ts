/** One student on a thread of its own, so that neither loading nor inference holds up a client's connection. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '@understudy/service/errors';
import { Predictor } from './predictor.ts';
import type { FromWorker, StudentMaterial, ToWorker } from './protocol.ts';

const port = parentPort;
if (!port) throw new Error('worker.ts runs as a worker thread');

const say = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

const predict = async (predictor: Predictor, texts: readonly string[]) => {
  try {
    const predictions = await predictor.predict(texts);
    const { labels, confidences, sure, tokens } = predictions;
    say(
      { kind: 'predicted', predictions },
      [labels, confidences, sure, tokens].map(({ buffer }) => buffer as ArrayBuffer),
    );
  } catch (error) {
    say({ kind: 'failed', message: messageOf(error) });
  }
};

const serve = (predictor: Predictor) => {
  port.on('message', async (message: ToWorker) => {
    if (message.kind === 'predict') return predict(predictor, message.texts);
    await predictor.close();
    port.close();
  });
  say({ kind: 'ready' });
};

try {
  serve(await Predictor.open(workerData as StudentMaterial));
} catch (error) {
  say({ kind: 'unfit', message: messageOf(error) });
  port.close();
}
