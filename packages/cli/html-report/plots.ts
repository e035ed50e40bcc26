/** The plots of the page; undefined where the report has no points for one. */
import { bytes, count, milliseconds, percent } from '../format.ts';
import { type Html, html } from './html.ts';
import { decadesOf, dot, drawPlot, key, line, shareAxis, ticksOf, words } from './plot.ts';
import type { Shown, ShownCurve } from './shown.ts';

const percentAxis = { ticks: ticksOf(0, 1), format: (value: number) => `${Math.round(value * 100)}%` };

/** Agreement of what the student would answer, by how much that is: one minus risk over coverage. */
export const riskCoveragePlot = ({ test, dev, goal }: Shown): Html | undefined => {
  const curveOf = (from: Shown['test'] | Shown['dev']) =>
    (from?.riskCoverage ?? []).map(
      ({ covered, agreeing }) => [covered / Math.max(1, from!.pairs), agreeing / covered] as const,
    );
  const [onTest, onDev] = [curveOf(test), curveOf(dev)];
  if (onTest.length + onDev.length === 0) return undefined;
  const { selectiveAgreement, coverage } = test ?? {};
  const chosen =
    selectiveAgreement?.value == null ? undefined : ([coverage!.value!, selectiveAgreement.value] as const);
  const bounds = selectiveAgreement && [selectiveAgreement.lowerBound, selectiveAgreement.upperBound];
  const lows = [...onTest, ...onDev].map(([, agreement]) => agreement);
  const description = chosen
    ? `At the chosen threshold the student answers ${percent(chosen[0])} of the test and agrees in ${percent(chosen[1])} of that; the goal is ${percent(goal.agreement)} at ${percent(goal.coverage)}.`
    : `On dev the student agrees in ${percent(lows.at(-1) ?? 0)} of everything that it has an answer to; the goal is ${percent(goal.agreement)} at ${percent(goal.coverage)}.`;
  return drawPlot({
    id: 'risk-coverage',
    title: 'Agreement with the teacher by share of requests answered',
    description,
    x: { label: 'coverage: share that the student answers', low: 0, high: 1, ...percentAxis },
    y: shareAxis('agreement', [...lows, goal.agreement, ...(chosen ? bounds! : [])]),
    marks: (place) => [
      line(
        place,
        [
          [goal.coverage, 1],
          [goal.coverage, goal.agreement],
          [1, goal.agreement],
        ],
        'goal',
      ),
      ...(onDev.length > 0 ? [line(place, onDev, onTest.length > 0 ? 'line-thin' : 'line')] : []),
      ...(onTest.length > 0 ? [line(place, onTest, 'line')] : []),
      ...(chosen
        ? [
            line(
              place,
              [
                [chosen[0], bounds![0]!],
                [chosen[0], bounds![1]!],
              ],
              'line',
            ),
            dot(place, ...chosen, 'dot-chosen', 5),
          ]
        : []),
    ],
    legend: [
      ...(onTest.length > 0 ? [key('line', 'on test')] : []),
      ...(onDev.length > 0
        ? [key(onTest.length > 0 ? 'line-thin' : 'line', 'on dev, where the threshold is chosen')]
        : []),
      key('goal', 'goal: above and right of it'),
      ...(chosen ? [key('dot-chosen', 'as chosen, with its bounds')] : []),
    ],
  });
};

/** Whether a confidence means what it says. */
export const reliabilityPlot = ({ test, dev }: Shown): Html | undefined => {
  const calibration = (test ?? dev)?.calibration;
  if (!calibration || calibration.bins.length === 0) return undefined;
  const most = Math.max(...calibration.bins.map(({ pairs }) => pairs));
  const points = calibration.bins.map(({ confidence, agreement }) => [confidence, agreement] as const);
  const low = Math.max(0, Math.floor((Math.min(...points.flat()) - 0.05) * 10) / 10);
  const axis = { low, high: 1, ticks: ticksOf(low, 1), format: percentAxis.format };
  return drawPlot({
    id: 'reliability',
    title: 'Reliability: agreement by confidence',
    description: `Expected calibration error ${percent(calibration.expectedCalibrationError)} on ${test ? 'test' : 'dev'}. The closer the points are to the diagonal, the more a confidence means what it says; small points are of few pairs.`,
    x: { label: 'confidence of the student', ...axis },
    y: { label: 'agreement', ...axis },
    marks: (place) => [
      line(
        place,
        [
          [low, low],
          [1, 1],
        ],
        'diagonal',
      ),
      line(place, points, 'line-thin'),
      ...calibration.bins.map(({ confidence, agreement, pairs }) =>
        dot(place, confidence, agreement, 'dot-faint', 2.5 + 8 * Math.sqrt(pairs / most)),
      ),
    ],
    legend: [key('diagonal', 'perfectly calibrated'), key('dot-faint', `up to ${count(most)} pairs, by area`)],
  });
};

/** What more pairs gave, and what they are expected to give. */
export const learningCurvePlot = (curve: ShownCurve, goal: Shown['goal']): Html => {
  const measured = curve.points.flatMap(({ trainPairs, covered, agreeing }) =>
    covered > 0 ? [[trainPairs, agreeing / covered] as const] : [],
  );
  const { ahead } = curve;
  const pairs = [...measured.map(([x]) => x), ...ahead.map(({ trainPairs }) => trainPairs)];
  const [low, high] = [Math.min(...pairs), Math.max(...pairs)];
  const shares = [...measured.map(([, y]) => y), ...ahead.map((point) => point.low), goal.agreement];
  const far = ahead.at(-1);
  return drawPlot({
    id: 'learning-curve',
    title: 'Learning curve: agreement by pairs learnt from',
    description: `${measured.map(([x, y]) => `${percent(y)} with ${count(x)} pairs`).join(', ')}${far ? `; with ${count(far.trainPairs)} pairs ${percent(far.value)} is expected (90% interval ${percent(far.low)} to ${percent(far.high)})` : ''}. The goal is ${percent(goal.agreement)}.`,
    x: {
      ...{ label: 'pairs learnt from', low, high, logarithmic: true, ticks: decadesOf(low, high) },
      format: (value) => (value < 1_000 ? String(value) : `${value / 1_000}k`),
    },
    y: shareAxis('agreement on dev', shares),
    marks: (place) => [
      line(
        place,
        [
          ...ahead.map((at) => [at.trainPairs, at.low] as const),
          ...ahead.toReversed().map((at) => [at.trainPairs, at.high] as const),
        ],
        'band',
        true,
      ),
      line(
        place,
        ahead.map(({ trainPairs, value }) => [trainPairs, value]),
        'line-thin',
      ),
      line(
        place,
        [
          [low, goal.agreement],
          [high, goal.agreement],
        ],
        'goal',
      ),
      ...measured.map(([x, y]) => dot(place, x, y, 'dot')),
    ],
    legend: [
      key('dot', 'measured'),
      ...(ahead.length > 0 ? [key('line-thin', 'forecast'), key('band', '90% of the forecasts')] : []),
      key('goal', 'goal'),
    ],
  });
};

/** Longer names would leave the plot; the table beside it has them whole. */
const maxNameCharacters = 18;
const shortOf = (name: string): string =>
  name.length > maxNameCharacters ? `${name.slice(0, maxNameCharacters - 1)}…` : name;

/** What was tried, by size and agreement; latency is in the labels. */
export const paretoPlot = ({ candidates, student, goal }: Shown): Html | undefined => {
  const tried = candidates.flatMap(({ name, onFront, trained }) => (trained ? [{ name, onFront, ...trained }] : []));
  if (tried.length === 0) return undefined;
  const sizes = tried.map(({ sizeBytes }) => sizeBytes);
  const [low, high] = [Math.min(...sizes) / 2, Math.max(...sizes, goal.sizeBytes) * 2];
  const y = shareAxis(
    'agreement on dev, where it answers',
    tried.map(({ agreement }) => agreement),
  );
  const front = tried.filter(({ onFront }) => onFront).sort((a, b) => a.sizeBytes - b.sizeBytes);
  return drawPlot({
    id: 'pareto',
    title: 'Students tried: agreement, size and latency',
    description: `${front.map(({ name, agreement, sizeBytes, latencyUs }) => `${name}: ${percent(agreement)}, ${bytes(sizeBytes)}, ${milliseconds(latencyUs / 1_000)}`).join('; ')} are those that no other one beats in all three.`,
    x: {
      ...{ label: 'size of the student', low, high, logarithmic: true, ticks: decadesOf(low, high) },
      format: (value) => bytes(value).replace('.0', ''),
    },
    y,
    marks: (place) => [
      line(
        place,
        [
          [goal.sizeBytes, y.low],
          [goal.sizeBytes, y.high],
        ],
        'goal',
      ),
      line(
        place,
        front.map(({ sizeBytes, agreement }) => [sizeBytes, agreement]),
        'line-thin',
      ),
      ...tried.map(({ onFront, digest, sizeBytes, agreement }) =>
        dot(place, sizeBytes, agreement, digest === student.digest ? 'dot-chosen' : onFront ? 'dot' : 'dot-hollow', 5),
      ),
      ...words(
        place,
        tried.map(({ name, sizeBytes, agreement, latencyUs }) => ({
          x: sizeBytes,
          y: agreement,
          text: `${shortOf(name)}, ${milliseconds(latencyUs / 1_000)}`,
        })),
      ),
    ],
    legend: [
      key('dot-chosen', 'chosen'),
      key('dot', 'none is better in all'),
      key('dot-hollow', 'another one is'),
      key('goal', 'largest size allowed'),
    ],
  });
};

/** A bar in a table: how much of the largest one this is. */
export const bar = (value: number, largest: number): Html =>
  html`<svg viewBox="0 0 60 8" width="60" height="8" aria-hidden="true"><path class="band" d="M0 0H60V8H0Z"/><path class="dot" d="M0 0H${Math.round((60 * value) / Math.max(1, largest))}V8H0Z"/></svg>`;
