import { type Graph, slice, type Value } from '@understudy/graph';
import { isSpan, type Layout, outputName, singleOf } from './layout.ts';
import type { HeadLogits } from './loss.ts';

/**
 * Makes logits into a finished model's outputs, one a head, `logits.<name>`: [batch, labels], or of a span [batch,
 * sequence, tags]. Those of a student that answers with one label are also `logits`, as others look for them.
 */
export function putOutputs(graph: Graph, layout: Layout, { texts, tokens }: HeadLogits): void {
  const single = singleOf(layout.places.map(({ head }) => head));
  if (single) graph.output('logits', texts as Value);
  for (const { head, at, width } of layout.places) {
    const all = (isSpan(head) ? tokens : texts) as Value;
    const own = width === all.shape.at(-1) ? all : slice(graph, all, isSpan(head) ? 2 : 1, at, at + width);
    graph.output(outputName(head.name), own);
  }
}
