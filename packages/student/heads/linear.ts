import {
  type Graph,
  type LayerParameter,
  linear,
  linearParameters,
  type Parameters,
  type Value,
} from '@understudy/graph';
import type { Layout } from './layout.ts';
import type { HeadLogits } from './loss.ts';

/** What heads read: a vector for each text [batch, n], and for span heads one for each of its tokens [batch, length, m]. */
export type Features = { readonly texts: Value; readonly tokens: () => Value };

const tokenHead = (name: string): string => `${name}.tokens`;

/** The parameters of linear heads: `<name>.weight` and `.bias` of all that texts have, `<name>.tokens.*` of all that tokens have. */
export const headParameters = (
  name: string,
  { textWidth, tokenWidth }: Layout,
  widths: { readonly texts: number; readonly tokens: number },
): LayerParameter[] => [
  ...(textWidth > 0 ? linearParameters(name, widths.texts, textWidth) : []),
  ...(tokenWidth > 0 ? linearParameters(tokenHead(name), widths.tokens, tokenWidth) : []),
];

/** The logits of all heads. */
export const linearHeads = (
  graph: Graph,
  name: string,
  { textWidth, tokenWidth }: Layout,
  { texts, tokens }: Partial<Features>,
  parameters: Parameters,
): HeadLogits => ({
  ...(textWidth > 0 && { texts: linear(graph, texts as Value, parameters, name) }),
  ...(tokenWidth > 0 && { tokens: linear(graph, (tokens as Features['tokens'])(), parameters, tokenHead(name)) }),
});
