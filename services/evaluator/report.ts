/** What an evaluation found: JSON, kept by digest, the same for whoever reads it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EvalSummarySchema } from '@understudy/contract';
import { z } from 'zod';

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const share = z.number().min(0).max(1);
const count = z.int().min(0);
const milliseconds = z.number().min(0);
const usd = z.number().min(0);

/** A share with its one-sided Clopper–Pearson bounds, each at the look's level; null without pairs. */
const Proportion = z.strictObject({
  pairs: count,
  successes: count,
  value: share.nullable(),
  lowerBound: share,
  upperBound: share,
});

const Reliability = z.strictObject({
  expectedCalibrationError: share,
  bins: z.array(z.strictObject({ from: share, to: share, pairs: count, confidence: share, agreement: share })),
});

/** Pairs by falling confidence: how many agree of the most confident ones. None in reports of earlier versions. */
const RiskCoverage = z.array(z.strictObject({ confidence: share, covered: count, agreeing: count })).default([]);

/** One label of the teacher's. Agreement counts the pairs that the student answers itself. */
const ClassRow = z.strictObject({
  label: z.string(),
  pairs: count,
  coverage: share.nullable(),
  agreement: Proportion,
  /** Against the goal's agreement, with bounds shared out over the labels; undetermined with too few pairs for either. */
  standing: z.enum(['above', 'below', 'undetermined']),
});

/** One part of the answer, over all test pairs; null where nothing counts. */
const HeadRow = z.strictObject({
  name: z.string(),
  kind: z.enum(['choice', 'tags', 'number', 'span']),
  /** Of the pairs that the student has an answer to, and of those that it answers itself. */
  agreement: share.nullable(),
  selectiveAgreement: share.nullable(),
  /** Of the items that student and teacher assert: labels of a set, texts of spans, values that are not absent. */
  precision: share.nullable(),
  recall: share.nullable(),
  f1: share.nullable(),
});

/** Against the source's own truth, over the pairs that have one; null where no pair counts. */
const Accuracy = z.strictObject({
  pairs: count,
  teacher: share,
  student: share,
  /** Of both on the pairs that the student answers itself. */
  selectivePairs: count,
  selectiveStudent: share.nullable(),
  selectiveTeacher: share.nullable(),
  delivered: share,
});

const Dev = z.strictObject({
  pairs: count,
  agreement: share,
  negativeLogLikelihood: z.strictObject({ uncalibrated: z.number(), calibrated: z.number() }),
  calibration: Reliability,
  covered: count,
  agreeing: count,
  /** Standard errors above what the test will ask for. */
  agreementMargin: z.number(),
  coverageMargin: z.number(),
  riskCoverage: RiskCoverage,
});

const Test = z.strictObject({
  /** Which look of the task this is, over all its runs, and the level that it has. */
  look: z.int().min(1),
  level: share,
  /** Test pairs that an earlier look has seen. */
  pairsSeenBefore: count,
  pairs: count,
  coverage: Proportion,
  selectiveAgreement: Proportion,
  /** The student alone on everything. */
  overallAgreement: share,
  /** Student where sure, teacher elsewhere. Never gated: without coverage it is 1. */
  deliveredAgreement: share,
  /** The same with each pair counted as often as it was requested. */
  byRequests: z.strictObject({
    requests: count,
    coverage: share,
    selectiveAgreement: share.nullable(),
    deliveredAgreement: share,
  }),
  calibration: Reliability,
  /** Where the output is one label. */
  classes: z.array(ClassRow),
  riskCoverage: RiskCoverage,
  /** Where the output is one label: the most frequent disagreements, and how many of them the student is sure of. */
  confusions: z
    .array(z.strictObject({ teacher: z.string(), student: z.string(), pairs: count, covered: count }))
    .default([]),
  /** Parts of the answer; none in reports of earlier versions. */
  heads: z.array(HeadRow).default([]),
  accuracy: Accuracy.nullable(),
});

/** Parts of test against the floor: see \`floors.ts\`. */
const Floors = z.strictObject({
  floor: share,
  level: share,
  parts: z.array(
    z.strictObject({
      by: z.enum(['class', 'length', 'source']),
      name: z.string(),
      pairs: count,
      /** Those that the student answers itself, and how many of them agree. */
      covered: count,
      agreeing: count,
      /** \`undetermined\`: too few pairs to tell, which is no proof that it is fine. */
      standing: z.enum(['above', 'below', 'undetermined']),
      /** Holm-adjusted: how likely so little agreement would be at the floor. */
      belowP: share,
    }),
  ),
});

/** What was found in train that a person should look at. It decides nothing. */
const Suspects = z.strictObject({
  /** Pairs that are left out of train: what looks like poison beyond the first few of each, and what a person dropped. */
  capped: count,
  dropped: count,
  /** Train pairs with a person's answer; dev and test pairs that a person decided about, which are left out. */
  settled: count,
  retired: count,
  /** Each with words that only its pairs have, or near-copies that other sources answer otherwise. */
  caps: z.array(
    z.strictObject({
      kind: z.enum(['trigger', 'near-copies']),
      what: z.string(),
      origin: z.string(),
      answer: z.string(),
      pairs: count,
      kept: count,
    }),
  ),
  /** Students that did not learn from a pair against its answer; null where nobody asked for it. */
  folds: z.strictObject({ digest, pairs: count, agreeing: count, suspects: count }).nullable(),
});

/** Test pairs that were left out, because train has their text or nearly, or another test pair has. */
const Twins = z.strictObject({ ofTrain: count, ofTest: count });

const interval = z.strictObject({ value: z.number(), low: z.number(), high: z.number() });
const furtherPairs = z.strictObject({ value: count.nullable(), low: count.nullable(), high: count.nullable() });

/** The student's candidate on nested parts of train, and what further pairs would do by it; intervals hold 90% of the forecasts. */
const LearningCurve = z.strictObject({
  points: z.array(z.strictObject({ trainPairs: count, covered: count, agreeing: count })),
  /** Share of dev that each point is measured on: those the student is surest of. */
  coverage: share,
  /** Disagreement falls as pairs to the minus this. */
  exponent: interval,
  /** Null: more than the forecast looks ahead, or never. */
  furtherPairs,
  /** Share of the forecasts that pass at all, within MAX_GROWTH times the pairs. */
  reaches: share,
  /** In reports of earlier versions, the same within the budget. */
  affordable: share.optional(),
  /** What the same forecasts say if the student learns twice as fast from here on: see \`statistics/learning-curve.ts\`. None in earlier reports. */
  hope: z.strictObject({ affordable: share, pairs: count, reaches: share, most: share }).optional(),
  payablePairs: count,
  usdPerPair: usd,
  /** Forecast agreement; none in reports of earlier versions. */
  ahead: z
    .array(z.strictObject({ trainPairs: count, value: share, low: share, high: share }))
    .readonly()
    .default([]),
});

/** Against the student in service, on the test pairs that it answers: see \`non-inferiority.ts\`. */
const Incumbent = z.strictObject({
  digest,
  pairs: count,
  /** Pairs on which only one of the two gives what the teacher would. */
  onlyNew: count,
  onlyIncumbent: count,
  difference: z.number().min(-1).max(1).nullable(),
  /** Tango's score bound at the look's level. */
  lowerBound: z.number().min(-1).max(1),
});

/** The teacher's agreement with itself on inputs of dev that it was asked again; one-sided Clopper–Pearson bounds at the goal's confidence. */
export const CeilingSchema = z.strictObject({ pairs: count, agreeing: count, lowerBound: share, upperBound: share });

const Costs = z.strictObject({
  teacher: z.strictObject({ medianLatencyMs: milliseconds, p99LatencyMs: milliseconds, usdPerThousand: usd }),
  student: z.strictObject({
    medianLatencyMs: milliseconds,
    p99LatencyMs: milliseconds,
    timedRequests: count,
    /** Processor time of the whole service for one of these requests: no less than the student's own. */
    cpuMs: milliseconds.optional(),
  }),
  /** What a thousand requests cost when the teacher answers only those that the student is not sure of. */
  deliveredUsdPerThousand: usd,
});

const Gate = z.strictObject({
  name: z.enum(['agreement', 'coverage', 'latencyMs', 'sizeBytes', 'floors', 'incumbent']),
  measured: z.number().nullable(),
  /** What is held against the goal, where it is not the measure itself. */
  bound: z.number().optional(),
  goal: z.number(),
  passed: z.boolean(),
});

/** What the trainer tried before it chose this student; figures are its own, of dev. */
const TriedCandidate = z.strictObject({
  name: z.string(),
  status: z.string(),
  reason: z.string(),
  /** No other one is as good in agreement, size and latency and better in one of them. */
  onFront: z.boolean(),
  trained: z
    .strictObject({
      digest: z.string(),
      agreement: z.number(),
      coverage: z.number(),
      sizeBytes: count,
      latencyUs: count,
      trainingMs: count,
    })
    .nullable(),
});

const Verdict = z.strictObject({
  passed: z.boolean(),
  reason: z.string(),
  /** Estimate of the further pairs that would do; 0 where none are needed or none would help. */
  morePairs: count,
  /** The task cannot be distilled to this goal, as far as pairs and budget can tell. */
  notDistillable: z.boolean().optional(),
  /** What the estimate assumes. */
  assumptions: z.string().optional(),
});

export const ReportSchema = z.strictObject({
  version: z.literal(1),
  task: z.string(),
  taskDigest: digest,
  runId: z.string(),
  seal: count,
  snapshot: z.strictObject({
    digest,
    fingerprint: z.string(),
    trainPairs: count,
    devPairs: count,
    testPairs: count,
  }),
  student: z.strictObject({ digest, family: z.string(), sizeBytes: count }),
  /** Cheapest first; none in reports of earlier versions. */
  candidates: z.array(TriedCandidate).default([]),
  goal: z.strictObject({
    agreement: share,
    coverage: share,
    confidence: share,
    floor: share.optional(),
    nonInferiorityMargin: share.default(0.005),
    ceilingSample: count.default(0),
    latencyMs: milliseconds,
    sizeBytes: count,
  }),
  /** Null where it did not come to choosing one. */
  policy: z
    .strictObject({
      digest,
      /** By head; none in reports of earlier versions, which had one temperature. */
      temperatures: z.record(z.string(), z.number().positive()).default({}),
      temperature: z.number().positive().optional(),
      threshold: share,
      /** A larger share of n-grams that train does not have sends a text to the teacher. */
      maxUnseenShare: share.default(1),
    })
    .nullable(),
  dev: Dev.nullable(),
  /** Null where test was not looked at. */
  test: Test.nullable(),
  /** Null in reports of earlier versions. */
  suspects: Suspects.nullable().default(null),
  /** Null where it did not come to looking for them, and in reports of earlier versions. */
  twins: Twins.nullable().default(null),
  /** Null where test was not looked at. */
  floors: Floors.nullable().default(null),
  /** Null where the task asks for no sample. */
  ceiling: CeilingSchema.nullable().default(null),
  /** Null where no other student serves, or test was not looked at. */
  incumbent: Incumbent.nullable().default(null),
  /** Null where dev says that the student is good enough. */
  learningCurve: LearningCurve.nullable().default(null),
  costs: Costs.nullable(),
  gates: z.array(Gate),
  verdict: Verdict,
  evaluatedAt: z.iso.datetime(),
  evaluationMs: milliseconds,
  /** Processor that the latencies were measured on. */
  machine: z.string(),
});

export type Report = z.infer<typeof ReportSchema>;
export type DevReport = z.infer<typeof Dev>;
export type CeilingReport = z.infer<typeof CeilingSchema>;
export type IncumbentReport = z.infer<typeof Incumbent>;
export type LearningCurveReport = z.infer<typeof LearningCurve>;
export type SuspectsReport = z.infer<typeof Suspects>;
export type TwinsReport = z.infer<typeof Twins>;
export type FloorsReport = z.infer<typeof Floors>;
export type TestReport = z.infer<typeof Test>;
export type CostsReport = z.infer<typeof Costs>;
export type GateReport = z.infer<typeof Gate>;
export type VerdictReport = z.infer<typeof Verdict>;
export type ProportionReport = z.infer<typeof Proportion>;

/** The part of a report that travels on the bus; zeros for what was not measured. */
export function summaryOf(report: Report, reportDigest: string): MessageInitShape<typeof EvalSummarySchema> {
  const { test, costs, policy } = report;
  return {
    reportDigest,
    studentDigest: report.student.digest,
    policyDigest: policy?.digest ?? '',
    snapshotDigest: report.snapshot.digest,
    selectiveAgreement: test?.selectiveAgreement.value ?? 0,
    selectiveAgreementLowerBound: test?.selectiveAgreement.lowerBound ?? 0,
    coverage: test?.coverage.value ?? 0,
    coverageLowerBound: test?.coverage.lowerBound ?? 0,
    deliveredAgreement: test?.deliveredAgreement ?? 0,
    confidenceThreshold: policy?.threshold ?? 0,
    testPairs: test?.pairs ?? 0,
    look: test?.look ?? 0,
    studentMedianLatencyMs: costs?.student.medianLatencyMs ?? 0,
    studentSizeBytes: BigInt(report.student.sizeBytes),
  };
}
