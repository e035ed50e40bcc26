import { ReportSchema } from '@understudy/evaluator/report';
import { describe, expect, test } from 'vitest';
import { answerJoules, dayAfter, savingsOf } from './costs.ts';
import { htmlReport } from './page.ts';
import { decadesOf, shareAxis, ticksOf } from './plot.ts';
import { failed, pageOf, promoted, structured } from './testing.ts';

const titles = (page: string) => [...page.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title);
const plots = (page: string) => [...page.matchAll(/<title id="(.*?)-title">/g)].map(([, id]) => id);
/** What a reader sees of it, on one line. */
const textOf = (page: string) =>
  page
    .replace(/<style>.*?<\/style>/s, '')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ');

describe('the page', () => {
  const pages = { promoted, structured, failed };

  test.each(Object.entries(pages))('%s: is drawn from a report as the evaluator writes it', (_, report) => {
    expect(ReportSchema.safeParse(report).error).toBeUndefined();
    const page = htmlReport(pageOf(report));
    expect(page).not.toMatch(/NaN|undefined|Infinity|null/);
    const ids = [...page.matchAll(/ id="(.*?)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, places] of page.matchAll(/ (?:d|cx|cy|x|y|r)="([^"]*)"/g)) expect(places).toMatch(/^[-MLHVZ\d. ]+$/);
    for (const [svg] of page.matchAll(/<svg [^>]*role="img".*?<\/svg>/gs)) expect(svg).toMatch(/<title .*<desc /s);
  });

  test.each(Object.entries(pages))('%s: needs nothing from outside, and runs nothing', (_, report) => {
    const page = htmlReport(pageOf(report));
    expect(page).not.toMatch(
      /<(script|link|img|iframe|object|image|use)\b|https?:|@import|url\(|\bsrc=|\bhref=|\son\w+=/i,
    );
    expect(page).toContain('content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;"');
    expect(page).toContain('<meta name="viewport" content="width=device-width, initial-scale=1">');
    expect(page.length).toBeLessThan(80_000);
  });

  test('of one label: gates with bounds, plots, confusions, and floors with what is undetermined', () => {
    const page = htmlReport(pageOf(promoted));
    expect(plots(page)).toEqual(['risk-coverage', 'reliability', 'pareto']);
    const text = textOf(page);
    expect(text).toContain('Agreement where it answers ✓ yes 97.8% 96.4% 95.0%');
    expect(text).toContain('Gain over the one in service ✓ yes 1.0% -0.2% -0.5%');
    expect(text).toContain('97.0% on 100 inputs asked twice, between 92.4% and 99.2%');
    expect(text).toMatch(/spam ham +21 11 ham spam +17 7/);
    expect(text).toContain('unclear undetermined 50.0% 2 6 0.600');
    expect(text).toContain(
      '1 of 4 parts are undetermined: too few pairs to tell, which is no proof that they are fine',
    );
    expect(text).toContain('encoder skipped: too large');
    expect(text).toMatch(/words cerulean forum\.jsonl \S*ham\S* 40 3/);
    expect(text).toContain('sure to contradict 12 of 4,200');
    expect(text).toContain('because train has them too 4');
  });

  test('of several fields: F1 of each, and no confusions', () => {
    const page = htmlReport(pageOf(structured));
    expect(titles(page)).toContain('Fields of the answer');
    expect(titles(page)).not.toContain('Confusions');
    expect(textOf(page)).toContain('intents 97.0% 99.0% 97.3% 97.3% 97.3% stay.nights 97.0% 99.0% – – –');
  });

  test('of a student that was not worth a look: why, and what more pairs would do', () => {
    const page = htmlReport(pageOf(failed, { verdict: 'failed', reason: failed.verdict.reason }));
    expect(plots(page)).toEqual(['risk-coverage', 'reliability', 'learning-curve', 'pareto']);
    const text = textOf(page);
    expect(text).toContain('no gate was asked');
    expect(text).toContain('Further pairs that the goal needs 61,000, about $122.00');
    expect(text).toContain('from 12,000 to beyond what the forecast looks at, or never');
    expect(text).toContain('forecasts that pass within the budget 2.0%');
    expect(page).toContain('class="verdict failed"');
  });

  test('of a run without an evaluation: its verdict and its bill', () => {
    const page = htmlReport(pageOf(undefined, { verdict: 'broken', reason: 'no answer for 15 min', trainingMs: 0 }));
    expect(titles(page)).toEqual(['Cost and energy']);
    expect(textOf(page)).toContain('broken no answer for 15 min It did not come to an evaluation');
  });

  test('of a report that an earlier version wrote: without the plots that it has no points for', () => {
    const { riskCoverage: _, confusions: _c, ...earlier } = promoted.test;
    const { riskCoverage: _d, ...dev } = promoted.dev;
    const { candidates: _t, ceiling: _e, incumbent: _i, floors: _f, suspects: _s, twins: _w, ...rest } = promoted;
    const page = htmlReport(pageOf({ ...rest, dev, test: earlier, candidates: [] }));
    expect(plots(page)).toEqual(['reliability']);
    expect(textOf(page)).toContain('no points for a plot');
  });

  test('nothing from a task, a label or a teacher becomes markup', () => {
    const hostile = `"><script>alert('1')</script>&<b x="\u202e`;
    const page = htmlReport(
      pageOf(
        {
          ...promoted,
          machine: hostile,
          candidates: promoted.candidates.map((candidate) => ({ ...candidate, name: hostile, reason: hostile })),
          floors: { ...promoted.floors, parts: promoted.floors.parts.map((part) => ({ ...part, name: hostile })) },
          test: { ...promoted.test, confusions: [{ teacher: hostile, student: hostile, pairs: 1, covered: 0 }] },
        },
        { task: hostile, reason: hostile, traffic: { requestsPerDay: 9, origin: hostile } },
      ),
    );
    expect(page).not.toMatch(/<script|<b\b|\u202e/);
    const escaped = '&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&lt;b x=&quot;\ufffd';
    expect(page.split(escaped).length - 1).toBeGreaterThan(12);
    const fields = [{ ...structured.test.heads[0], name: hostile }, structured.test.heads[1]];
    expect(htmlReport(pageOf({ ...structured, test: { ...structured.test, heads: fields } }))).toContain(escaped);
  });
});

describe('cost', () => {
  const coverage = { value: 0.9, lowerBound: 0.8 };
  const costs = { ...promoted.costs, deliveredUsdPerThousand: 0.2 };
  const audit = { share: 0.1, callsPerDay: 1_000, usdPerDay: 1 };
  const known = { spentUsd: 10, spentBeforeUsd: 6.2, audit, traffic: undefined };

  test('a break-even counts labelling of all runs, fallback and audits', () => {
    const found = savingsOf(costs, coverage, known)!;
    expect(found.auditUsd).toBeCloseTo(0.18, 9);
    expect(found.savedUsd).toBeCloseTo(1.62, 9);
    expect(found.breakEven).toBe(10_000);
    expect(found.safeBreakEven).toBe(Math.ceil(16_200 / 1.42));
  });

  test('audits cost no more than a day allows, where the traffic is known, and nothing where none may be', () => {
    const busy = { ...known, traffic: { requestsPerDay: 100_000, origin: '' } };
    expect(savingsOf(costs, coverage, busy)?.auditUsd).toBeCloseTo(0.01, 9);
    expect(savingsOf(costs, coverage, { ...known, audit: { ...audit, usdPerDay: 0 } })?.auditUsd).toBe(0);
  });

  test('without a price there is no break-even, and a student that saves nothing has none', () => {
    const free = { ...costs, teacher: { ...costs.teacher, usdPerThousand: 0 } };
    expect(savingsOf(free, coverage, known)).toBeUndefined();
    expect(textOf(htmlReport(pageOf({ ...promoted, costs: free })))).toContain('So there is no break-even to tell');
    const useless = savingsOf({ ...costs, deliveredUsdPerThousand: 2 }, { value: 0, lowerBound: 0 }, known);
    expect(useless).toMatchObject({ breakEven: null, safeBreakEven: null });
  });

  test('a date is told where the traffic is known', () => {
    const without = textOf(htmlReport(pageOf(promoted)));
    expect(without).toContain('without known traffic there is no date');
    const page = htmlReport(pageOf(promoted, { traffic: { requestsPerDay: 1_000, origin: 'as stated' } }));
    expect(textOf(page)).toContain('at this traffic that is 2026-03-10');
    expect(dayAfter(new Date(0), 1e300, 1)).toBeUndefined();
  });

  test('energy is processor time times the stated watts; an older report has only the latency', () => {
    expect(answerJoules(costs, 10)).toBeCloseTo(0.004, 9);
    expect(answerJoules({ ...costs, student: { ...costs.student, cpuMs: undefined } }, 10)).toBeCloseTo(0.0031, 9);
    expect(textOf(htmlReport(pageOf(promoted)))).toContain('4.0 mJ (400 µs of processor time at 10 W)');
  });
});

test('ticks are round and lie within their axis', () => {
  expect(ticksOf(0, 1)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(decadesOf(440, 60_000)).toEqual([500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000]);
  expect(decadesOf(1e5, 1e8)).toEqual([1e5, 1e6, 1e7, 1e8]);
  expect(shareAxis('', [1, 1]).ticks.at(-1)).toBe(1);
  expect(shareAxis('', [0.99]).low).toBeCloseTo(0.9425, 9);
  expect(shareAxis('', [0]).ticks).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
});
