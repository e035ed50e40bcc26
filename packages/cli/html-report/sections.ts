/** The parts of the page, each with a heading; undefined where the report has nothing for one. */
import { bytes, count, milliseconds, percent, percentAtLeast } from '../format.ts';
import { facts, type Html, html, table } from './html.ts';
import { bar, learningCurvePlot, paretoPlot, reliabilityPlot, riskCoveragePlot } from './plots.ts';
import type { Shown } from './shown.ts';

const whole = html` class="whole"`;

/** Parts beside each other where there is room; a table that is a part by itself takes all of it. */
export const section = (title: string, ...parts: (Html | undefined)[]): Html => {
  const given = parts.filter((part) => part !== undefined);
  return html`<section><h2>${title}</h2><div class="wide">${given.map((part) => html`<div${part.text.startsWith('<div class="scroll"') ? whole : undefined}>${part}</div>`)}</div></section>\n`;
};

const share = (value: number | null): string => (value === null ? '–' : percent(value));
const passed = (yes: boolean): Html =>
  yes ? html`<span class="yes">✓ yes</span>` : html`<span class="no">✗ no</span>`;

const gateNames = {
  agreement: 'Agreement where it answers',
  coverage: 'Coverage',
  latencyMs: 'Latency (median)',
  sizeBytes: 'Size',
  floors: 'Lowest class, length or source',
  incumbent: 'Gain over the one in service',
} as const;

const gateFigure = (name: keyof typeof gateNames, value: number | null | undefined): string => {
  if (value === null || value === undefined) return '–';
  if (name === 'latencyMs') return milliseconds(value);
  if (name === 'sizeBytes') return bytes(value);
  return percent(value);
};

export const gatesSection = ({ gates, test, ceiling, incumbent, goal }: Shown): Html => {
  const rows = gates.map(({ name, measured, bound, goal: wanted, passed: yes }) => [
    gateNames[name],
    passed(yes),
    gateFigure(name, measured),
    bound === undefined ? '–' : name === 'agreement' || name === 'coverage' ? percentAtLeast(bound) : percent(bound),
    gateFigure(name, wanted),
  ]);
  const looked = test
    ? html`<p class="soft">Bounds hold at level ${percent(test.level)}: this is look ${test.look} at the test over all runs of the task, with ${percent(goal.confidence)} confidence over all looks together. Of its ${count(test.pairs)} pairs, ${count(test.pairsSeenBefore)} were seen by an earlier look; training saw none. A class or length fails its floor only where it is proven to be below.</p>`
    : html`<p>The test was not looked at, so no gate was asked: the verdict says why.</p>`;
  const ceilingText = ceiling
    ? `${percent(ceiling.agreeing / Math.max(1, ceiling.pairs))} on ${count(ceiling.pairs)} inputs asked twice, between ${percent(ceiling.lowerBound)} and ${percent(ceiling.upperBound)}`
    : 'not measured (goal.ceilingSample asks for it)';
  const incumbentText = incumbent
    ? `${share(incumbent.difference)} on the ${count(incumbent.pairs)} pairs that it answers: ${count(incumbent.onlyNew)} only the new one has right, ${count(incumbent.onlyIncumbent)} only the old one`
    : 'not compared: no other student was in service, or the test was not looked at';
  return section(
    'Gates',
    html`${rows.length > 0 ? table('Every gate has to be passed', ['gate', 'passed', 'measured', 'bound', 'goal'], rows, { figures: 2 }) : undefined}${looked}`,
    facts([
      ['The teacher’s agreement with itself', ceilingText],
      ['Against the student in service', incumbentText],
    ]),
  );
};

export const agreementSection = (report: Shown): Html | undefined => {
  const { test, dev, policy } = report;
  if (!test && !dev) return undefined;
  const plot = riskCoveragePlot(report);
  const none = html`<p class="soft">This report has no points for a plot: an earlier version of the evaluator made it.</p>`;
  if (!test) {
    const onDev = `${percent(dev!.agreeing / Math.max(1, dev!.covered))} of the ${count(dev!.covered)} of ${count(dev!.pairs)} pairs that it would answer`;
    return section(
      'Agreement and coverage',
      plot ?? none,
      facts([
        ['On dev', onDev],
        ['Alone on all of dev', percent(dev!.agreement)],
      ]),
    );
  }
  const { selectiveAgreement, coverage, byRequests, accuracy } = test;
  const rows: [string, string][] = [
    [
      'Where the student answers',
      `${share(selectiveAgreement.value)} of ${count(selectiveAgreement.pairs)} pairs, between ${percentAtLeast(selectiveAgreement.lowerBound)} and ${percent(selectiveAgreement.upperBound)}`,
    ],
    [
      'Coverage',
      `${share(coverage.value)} of ${count(coverage.pairs)} pairs, between ${percentAtLeast(coverage.lowerBound)} and ${percent(coverage.upperBound)}`,
    ],
    ['Delivered, the teacher answering the rest', percent(test.deliveredAgreement)],
    ['The student alone on everything', percent(test.overallAgreement)],
    [
      'Weighted by requests',
      `${share(byRequests.selectiveAgreement)} agreement, ${percent(byRequests.coverage)} coverage, ${percent(byRequests.deliveredAgreement)} delivered, over ${count(byRequests.requests)} requests`,
    ],
    ['Threshold', policy ? `answers from a confidence of ${percent(policy.threshold)} on` : 'none was chosen'],
    [
      'Against the truth',
      accuracy
        ? `teacher ${percent(accuracy.teacher)}, student ${percent(accuracy.student)}, both as delivered ${percent(accuracy.delivered)}, of the ${count(accuracy.pairs)} pairs that have one`
        : 'not known: the sources have no truth of their own',
    ],
  ];
  return section('Agreement and coverage', plot ?? none, facts(rows));
};

export const calibrationSection = (report: Shown): Html | undefined => {
  const { test, dev } = report;
  const plot = reliabilityPlot(report);
  if (!plot) return undefined;
  const rows: [string, string][] = [];
  if (test) rows.push(['Expected calibration error on test', percent(test.calibration.expectedCalibrationError)]);
  if (dev) {
    const { uncalibrated, calibrated } = dev.negativeLogLikelihood;
    rows.push(['Expected calibration error on dev', percent(dev.calibration.expectedCalibrationError)]);
    rows.push([
      'Negative log likelihood on dev',
      `${uncalibrated.toFixed(3)} nats as trained, ${calibrated.toFixed(3)} calibrated`,
    ]);
  }
  return section('Calibration', plot, facts(rows));
};

/** Confusions of one label, or the parts of an answer of several. */
export const disagreementsSection = ({ test }: Shown): Html | undefined => {
  if (!test) return undefined;
  if (test.heads.length > 1) {
    const rows = test.heads.map(({ name, agreement, selectiveAgreement, precision, recall, f1 }) => [
      name,
      ...[agreement, selectiveAgreement, precision, recall, f1].map(share),
    ]);
    const titles = ['field', 'agreement', 'where sure', 'precision', 'recall', 'F1'];
    return section(
      'Fields of the answer',
      table('Each field by itself, on test; gates judge whole answers', titles, rows),
    );
  }
  const { confusions } = test;
  const [largest] = confusions;
  if (!largest) return undefined;
  const rows = confusions.map(({ teacher, student, pairs, covered }) => [
    teacher,
    student,
    html`${bar(pairs, largest.pairs)} ${count(pairs)}`,
    count(covered),
  ]);
  const titles = ['the teacher says', 'the student says', 'pairs', 'sure of it'];
  return section(
    'Confusions',
    table(`The ${rows.length} most frequent disagreements on test`, titles, rows, { figures: 2 }),
  );
};

const standings = {
  below: html`<span class="no">below</span>`,
  above: html`<span class="yes">not below</span>`,
  undetermined: html`<span class="open">undetermined</span>`,
};
const order = ['below', 'undetermined', 'above'];

export const floorsSection = ({ floors }: Shown): Html | undefined => {
  if (!floors) return undefined;
  const sorted = floors.parts.toSorted(
    (a, b) => order.indexOf(a.standing) - order.indexOf(b.standing) || a.belowP - b.belowP,
  );
  const rows = sorted.map(({ by, name, pairs, covered, agreeing, standing, belowP }) => [
    by === 'class' ? name : `${by}: ${name}`,
    standings[standing],
    covered === 0 ? '–' : percent(agreeing / covered),
    count(covered),
    count(pairs),
    belowP < 0.001 ? '< 0.001' : belowP.toFixed(3),
  ]);
  const open = floors.parts.filter(({ standing }) => standing === 'undetermined').length;
  const titles = ['part', 'standing', 'agreement', 'answered', 'pairs', 'p'];
  return section(
    'Floors by class, length and source',
    html`${table(`Floor: ${percent(floors.floor)}`, titles, rows, { figures: 2 })}`,
    html`<p>${open === 0 ? 'Every part has pairs enough to tell.' : `${count(open)} of ${count(rows.length)} parts are undetermined: too few pairs to tell, which is no proof that they are fine.`}</p>
<p class="soft">p is how likely so little agreement would be at the floor, Holm-adjusted over all parts; at ${percent(floors.level)} and less a part counts as below. Only pairs that the student answers itself count.</p>`,
  );
};

const hopeRows = ({
  affordable,
  pairs,
  reaches,
  most,
}: NonNullable<NonNullable<Shown['learningCurve']>['hope']>): [string, string][] => [
  ['If it learnt twice as fast, forecasts that pass within the budget', percent(affordable)],
  [
    `If it learnt twice as fast, with ${count(pairs)} pairs`,
    `${percent(reaches)} of the forecasts agree as often as the goal, 19 of 20 in at most ${percent(most)}`,
  ],
];

export const learningCurveSection = ({ learningCurve: curve, goal }: Shown): Html | undefined => {
  if (!curve) return undefined;
  const { furtherPairs, exponent, hope } = curve;
  const pairs = (value: number | null) =>
    value === null ? 'beyond what the forecast looks at, or never' : count(value);
  const price = (value: number | null) =>
    value === null || curve.usdPerPair === 0 ? '' : `, about ${usd(value * curve.usdPerPair)}`;
  const rows: [string, string][] = [
    ['Further pairs that the goal needs', `${pairs(furtherPairs.value)}${price(furtherPairs.value)}`],
    ['90% interval', `from ${pairs(furtherPairs.low)} to ${pairs(furtherPairs.high)}`],
    ['Forecasts that reach the goal at all', percent(curve.reaches)],
    ['The budget pays for', `${count(curve.payablePairs)} pairs`],
    ...(hope ? hopeRows(hope) : []),
    [
      'Price of a pair',
      curve.usdPerPair === 0 ? 'not known: the teacher’s answers have no price' : usd(curve.usdPerPair),
    ],
    [
      'The odds of disagreement fall as',
      `pairs^−${exponent.value.toFixed(2)} (90% interval ${exponent.low.toFixed(2)} to ${exponent.high.toFixed(2)}), over the ${percent(curve.coverage)} of the pairs that the student is surest of`,
    ],
  ];
  return section('Learning curve', learningCurvePlot(curve, goal), facts(rows));
};

export const candidatesSection = (report: Shown): Html | undefined => {
  const plot = paretoPlot(report);
  if (!plot) return undefined;
  const rows = report.candidates.map(({ name, status, reason, onFront, trained }) => {
    if (!trained) return [name, '', '', '', '', '', `${status}: ${reason}`];
    const { digest, agreement, coverage, sizeBytes, latencyUs, trainingMs } = trained;
    const note =
      digest === report.student.digest
        ? html`<span class="yes">chosen</span>`
        : onFront
          ? 'none is better in all'
          : 'another one is as good or better in all';
    const figures = [percent(agreement), percent(coverage), bytes(sizeBytes)];
    return [name, ...figures, milliseconds(latencyUs / 1_000), milliseconds(trainingMs), note];
  });
  const titles = ['student', 'agreement', 'coverage', 'size', 'latency', 'training', ''];
  return section(
    'Students tried',
    plot,
    table('On dev, at about the coverage that the goal asks for; cheapest first', titles, rows, { words: 6 }),
  );
};

export const provenanceSection = (
  { taskDigest, snapshot, student, policy, machine, evaluatedAt }: Shown,
  reportDigest: string,
): Html => {
  const code = (digest: string) => html`<code>${digest}</code>`;
  return section(
    'Where this comes from',
    facts([
      ['Report', code(reportDigest)],
      ['Student', html`${student.family}, ${bytes(student.sizeBytes)} ${code(student.digest)}`],
      ['Policy', policy ? code(policy.digest) : 'none was chosen'],
    ]),
    facts([
      ['Task', code(taskDigest)],
      [
        'Pairs',
        html`${count(snapshot.trainPairs)} train, ${count(snapshot.devPairs)} dev, ${count(snapshot.testPairs)} test ${code(snapshot.digest)}`,
      ],
      ['Judged', `${evaluatedAt} on ${machine}`],
    ]),
  );
};

/** US dollars, with digits enough to see small ones. */
export const usd = (value: number): string =>
  value === 0 || Math.abs(value) >= 1 ? `$${value.toFixed(2)}` : `$${value.toPrecision(2)}`;
