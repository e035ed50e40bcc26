/** What was found in the pairs that a person should know of. */
import { count } from '../format.ts';
import { facts, type Html, html, table } from './html.ts';
import { section } from './sections.ts';
import type { Shown } from './shown.ts';

/** Nothing where nothing was found. */
export const suspectsSection = ({ suspects, twins }: Shown): Html | undefined => {
  const rows: [string, string][] = [];
  if (suspects && suspects.capped > 0) rows.push(['Left out of train, suspected of poison', count(suspects.capped)]);
  if (suspects?.folds) {
    const { pairs, suspects: found } = suspects.folds;
    rows.push([
      'Train pairs that a student which did not learn from them is sure to contradict',
      `${count(found)} of ${count(pairs)}`,
    ]);
  }
  if (suspects && suspects.settled + suspects.dropped > 0) {
    rows.push([
      'Train pairs that people settled',
      `${count(suspects.settled)}, and ${count(suspects.dropped)} dropped`,
    ]);
  }
  if (suspects && suspects.retired > 0)
    rows.push(['Dev and test pairs that people decided about: left out', count(suspects.retired)]);
  if (twins && twins.ofTrain > 0) rows.push(['Test pairs left out because train has them too', count(twins.ofTrain)]);
  if (twins && twins.ofTest > 0) rows.push(['Test pairs left out because test has them twice', count(twins.ofTest)]);
  if (rows.length === 0) return undefined;
  const caps = (suspects?.caps ?? []).map(({ kind, what, origin, answer, pairs, kept }) => [
    kind === 'trigger' ? html`words <code>${what}</code>` : html`near-copies <code>${what.slice(0, 12)}</code>`,
    origin || 'unnamed',
    html`<code>${answer}</code>`,
    count(pairs),
    count(kept),
  ]);
  const titles = ['what', 'source', 'answer', 'pairs', 'trained'];
  return section(
    'Suspicious pairs',
    facts(rows),
    caps.length === 0
      ? undefined
      : table('Pairs of one source that look as if they were to teach something wrong', titles, caps, { figures: 3 }),
    html`<p class="soft">They decide nothing. <code>understudy review</code> lists them for a person to settle.</p>`,
  );
};
