/** The same student without anything around it: texts a second through its ONNX Runtime session, one at a time. */
import { openSession, tensor, toRuntime } from '@understudy/graph';
import { openBundle } from '@understudy/student';

const seconds = 3;
const warmUpTexts = 500;

export const bareSessionPerSecond = async (archive: Uint8Array, texts: readonly string[]): Promise<number> => {
  const { model } = await openBundle(archive);
  const session = await openSession(model, { threads: 1 });
  const feeds = texts.map((text) => {
    const bytes = new TextEncoder().encode(text);
    const dims = [1, bytes.length];
    return {
      input_ids: toRuntime(tensor('int64', dims, BigInt64Array.from(bytes, BigInt))),
      attention_mask: toRuntime(tensor('int64', dims, new BigInt64Array(bytes.length).fill(1n))),
    };
  });
  for (const feed of feeds.slice(0, warmUpTexts)) await session.run(feed);
  const startMs = performance.now();
  let answered = 0;
  while (performance.now() - startMs < seconds * 1_000) {
    await session.run(feeds[answered % feeds.length]!);
    answered += 1;
  }
  const perSecond = (answered * 1_000) / (performance.now() - startMs);
  await session.release();
  return perSecond;
};
