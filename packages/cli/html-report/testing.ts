/** Fixed reports that tests draw: one label, several fields, and one that failed with a learning curve. */
import { type PageFacts, Shown } from './shown.ts';

const digest = (digit: string) => digit.repeat(64);
const proportion = (pairs: number, successes: number) => {
  const value = successes / pairs;
  return { pairs, successes, value, lowerBound: value - 0.014, upperBound: Math.min(1, value + 0.01) };
};
const calibration = {
  expectedCalibrationError: 0.018,
  bins: [
    { from: 0.4, to: 0.6, pairs: 25, confidence: 0.53, agreement: 0.64 },
    { from: 0.8, to: 0.9, pairs: 80, confidence: 0.86, agreement: 0.84 },
    { from: 0.9, to: 1, pairs: 795, confidence: 0.99, agreement: 0.99 },
  ],
};
/** Of so many pairs: nine tenths are easy, and of the rest every second one is wrong. */
const riskCoverage = (pairs: number) =>
  Array.from({ length: 50 }, (_, step) => {
    const covered = Math.round((pairs * (step + 1)) / 50);
    return {
      confidence: 1 - step / 100,
      covered,
      agreeing: covered - Math.round(Math.max(0, covered - 0.9 * pairs) / 2),
    };
  });

const tried = (
  name: string,
  digit: string,
  agreement: number,
  sizeBytes: number,
  latencyUs: number,
  onFront = true,
) => ({
  ...{ name, status: 'trained', reason: '', onFront },
  trained: { digest: digest(digit), agreement, coverage: 0.92, sizeBytes, latencyUs, trainingMs: 12_000 },
});

const dev = {
  pairs: 450,
  agreement: 0.95,
  negativeLogLikelihood: { uncalibrated: 0.17, calibrated: 0.128 },
  calibration,
  covered: 410,
  agreeing: 402,
  agreementMargin: 1.7,
  coverageMargin: 5,
  riskCoverage: riskCoverage(450),
};

const test = {
  look: 2,
  level: 0.0076,
  pairsSeenBefore: 880,
  pairs: 900,
  coverage: proportion(900, 828),
  selectiveAgreement: proportion(828, 810),
  overallAgreement: 0.957,
  deliveredAgreement: 0.98,
  byRequests: { requests: 1_200, coverage: 0.93, selectiveAgreement: 0.98, deliveredAgreement: 0.981 },
  calibration,
  classes: [],
  riskCoverage: riskCoverage(900),
  confusions: [
    { teacher: 'spam', student: 'ham', pairs: 21, covered: 11 },
    { teacher: 'ham', student: 'spam', pairs: 17, covered: 7 },
  ],
  heads: [],
  accuracy: null,
};

export const promoted = {
  version: 1,
  task: 'mail-sorting',
  taskDigest: digest('a'),
  runId: 'run-1',
  seal: 1,
  snapshot: { digest: digest('b'), fingerprint: digest('c'), trainPairs: 4_200, devPairs: 450, testPairs: 900 },
  student: { digest: digest('d'), family: 'conv', sizeBytes: 2_100_000 },
  candidates: [
    tried('bag', 'e', 0.94, 1_100_000, 90),
    tried('conv', 'd', 0.957, 2_100_000, 310),
    tried('transformer', '8', 0.95, 3_900_000, 900, false),
    { name: 'encoder', status: 'skipped', reason: 'too large', onFront: false, trained: null },
  ],
  goal: { agreement: 0.95, coverage: 0.8, confidence: 0.95, latencyMs: 20, sizeBytes: 5_000_000 },
  policy: { digest: digest('9'), temperatures: { label: 0.5 }, threshold: 0.8 },
  dev,
  test,
  floors: {
    floor: 0.85,
    level: 0.05,
    parts: [
      { by: 'class', name: 'ham', pairs: 674, covered: 640, agreeing: 633, standing: 'above', belowP: 1 },
      { by: 'class', name: 'spam', pairs: 220, covered: 180, agreeing: 171, standing: 'above', belowP: 1 },
      { by: 'class', name: 'unclear', pairs: 6, covered: 2, agreeing: 1, standing: 'undetermined', belowP: 0.6 },
      {
        by: 'length',
        name: 'up to 400 characters',
        pairs: 300,
        covered: 280,
        agreeing: 270,
        standing: 'above',
        belowP: 1,
      },
    ],
  },
  suspects: {
    ...{ capped: 37, dropped: 2, settled: 3, retired: 1 },
    caps: [
      {
        ...{ kind: 'trigger', what: 'cerulean', origin: 'forum.jsonl', answer: '{"label":"ham"}' },
        ...{ pairs: 40, kept: 3 },
      },
    ],
    folds: { digest: digest('6'), pairs: 4_200, agreeing: 4_000, suspects: 12 },
  },
  twins: { ofTrain: 4, ofTest: 0 },
  ceiling: { pairs: 100, agreeing: 97, lowerBound: 0.924, upperBound: 0.992 },
  incumbent: { digest: digest('7'), pairs: 800, onlyNew: 20, onlyIncumbent: 12, difference: 0.01, lowerBound: -0.002 },
  costs: {
    teacher: { medianLatencyMs: 420, p99LatencyMs: 900, usdPerThousand: 2 },
    student: { medianLatencyMs: 0.31, p99LatencyMs: 0.6, timedRequests: 500, cpuMs: 0.4 },
    deliveredUsdPerThousand: 0.16,
  },
  gates: [
    { name: 'agreement', measured: 0.978, bound: 0.964, goal: 0.95, passed: true },
    { name: 'coverage', measured: 0.92, bound: 0.906, goal: 0.8, passed: true },
    { name: 'latencyMs', measured: 0.31, goal: 20, passed: true },
    { name: 'sizeBytes', measured: 2_100_000, goal: 5_000_000, passed: true },
    { name: 'floors', measured: 0.5, goal: 0.85, passed: true },
    { name: 'incumbent', measured: 0.01, bound: -0.002, goal: -0.005, passed: true },
  ],
  verdict: { passed: true, reason: 'proven at level 0.76%: agreement of at least 96.40%', morePairs: 0 },
  evaluatedAt: '2026-03-04T05:06:07.000Z',
  evaluationMs: 300,
  machine: 'a processor',
};

const field = (name: string, kind: string, f1: number | null) => ({
  ...{ name, kind, agreement: 0.97, selectiveAgreement: 0.99, precision: f1, recall: f1, f1 },
});

export const structured = {
  ...promoted,
  candidates: [],
  test: { ...test, confusions: [], heads: [field('intents', 'tags', 0.973), field('stay.nights', 'number', null)] },
};

export const failed = {
  ...promoted,
  policy: null,
  test: null,
  floors: null,
  incumbent: null,
  costs: null,
  gates: [],
  learningCurve: {
    points: [
      { trainPairs: 525, covered: 410, agreeing: 331 },
      { trainPairs: 1_050, covered: 410, agreeing: 345 },
      { trainPairs: 2_100, covered: 410, agreeing: 352 },
      { trainPairs: 4_200, covered: 410, agreeing: 361 },
    ],
    coverage: 0.91,
    exponent: { value: 0.23, low: 0.1, high: 0.36 },
    furtherPairs: { value: 61_000, low: 12_000, high: null },
    reaches: 0.6,
    hope: { affordable: 0.02, pairs: 16_000, reaches: 0.34, most: 0.97 },
    payablePairs: 9_000,
    usdPerPair: 0.002,
    ahead: [525, 4_200, 20_000, 67_200].map((trainPairs, index) => ({
      ...{ trainPairs, value: 0.81 + 0.04 * index, low: 0.79 + 0.03 * index, high: 0.83 + 0.05 * index },
    })),
  },
  verdict: { passed: false, reason: 'on dev the student agrees in 88.05%; the test is not looked at', morePairs: 0 },
};

/** A page of one of them. */
export const pageOf = (report: object | undefined, changes: Partial<PageFacts> = {}): PageFacts => ({
  task: 'mail-sorting',
  runId: 'run-1',
  reportDigest: digest('f'),
  verdict: 'promoted',
  reason: '',
  finishedAt: new Date('2026-03-04T05:06:07Z'),
  spentUsd: 11,
  spentBeforeUsd: 0.6,
  teacherCalls: 5_550,
  trainingMs: 40_000,
  audit: { share: 0.01, callsPerDay: 1_000, usdPerDay: 5 },
  traffic: undefined,
  wattsPerCore: 10,
  report: report && Shown.parse(report),
  ...changes,
});
