/** A run's report as one HTML page: plots drawn here, no script, nothing fetched. */
import { costSection } from './cost-section.ts';
import { Html, html } from './html.ts';
import {
  agreementSection,
  calibrationSection,
  candidatesSection,
  disagreementsSection,
  floorsSection,
  gatesSection,
  learningCurveSection,
  provenanceSection,
} from './sections.ts';
import type { PageFacts } from './shown.ts';
import { style } from './style.ts';
import { suspectsSection } from './suspects-section.ts';

/** The browser, too, is told that nothing is run or fetched. */
const policy = "default-src 'none'; style-src 'unsafe-inline'";

const sectionsOf = (page: PageFacts): (Html | undefined)[] => {
  const { report, reportDigest } = page;
  if (!report) return [costSection(page)];
  return [
    gatesSection(report),
    agreementSection(report),
    calibrationSection(report),
    disagreementsSection(report),
    floorsSection(report),
    suspectsSection(report),
    learningCurveSection(report),
    candidatesSection(report),
    costSection(page),
    provenanceSection(report, reportDigest),
  ];
};

/** The whole document. */
export const htmlReport = (page: PageFacts): string => {
  const { task, runId, verdict, reason, report, finishedAt } = page;
  const good = verdict === 'promoted' || verdict === 'proven';
  const own =
    report && report.verdict.reason !== reason ? html`<p>The evaluation says: ${report.verdict.reason}</p>` : undefined;
  const assumed = report?.verdict.assumptions;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${task}: ${verdict}</title><style>${new Html(style)}</style></head>
<body><header><h1>${task}</h1>
<p class="soft">Run ${runId}${finishedAt ? `, ended ${finishedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC` : ', not ended yet'}</p>
<div class="verdict ${good ? 'passed' : 'failed'}"><strong>${verdict}</strong>
${reason === '' ? undefined : html`<p>${reason}</p>`}${own}${assumed === undefined ? undefined : html`<p class="soft">Assumed: ${assumed}</p>`}
${report ? undefined : html`<p>It did not come to an evaluation, so there is nothing to show of one.</p>`}</div></header>
<main>${sectionsOf(page).filter((part) => part !== undefined)}</main></body></html>
`.text;
};
