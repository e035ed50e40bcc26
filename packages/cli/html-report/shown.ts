/** The parts of an evaluation report that the page shows; arrays that earlier versions lack are empty, so what needs them is left out. */
import { z } from 'zod';

const number = z.number();
const share = number.nullable();
const proportion = z.object({ pairs: number, value: share, lowerBound: number, upperBound: number });
const reliability = z.object({
  expectedCalibrationError: number,
  bins: z.array(z.object({ pairs: number, confidence: number, agreement: number })),
});
const riskCoverage = z.array(z.object({ confidence: number, covered: number, agreeing: number })).default([]);

const Dev = z.object({
  pairs: number,
  agreement: number,
  negativeLogLikelihood: z.object({ uncalibrated: number, calibrated: number }),
  calibration: reliability,
  covered: number,
  agreeing: number,
  riskCoverage,
});

const Test = z.object({
  look: number,
  level: number,
  pairsSeenBefore: number,
  pairs: number,
  coverage: proportion,
  selectiveAgreement: proportion,
  overallAgreement: number,
  deliveredAgreement: number,
  byRequests: z.object({ requests: number, coverage: number, selectiveAgreement: share, deliveredAgreement: number }),
  calibration: reliability,
  riskCoverage,
  confusions: z
    .array(z.object({ teacher: z.string(), student: z.string(), pairs: number, covered: number }))
    .default([]),
  heads: z
    .array(
      z.object({
        ...{ name: z.string(), kind: z.string(), agreement: share, selectiveAgreement: share },
        ...{ precision: share, recall: share, f1: share },
      }),
    )
    .default([]),
  accuracy: z.object({ pairs: number, teacher: number, student: number, delivered: number }).nullable(),
});

const Floors = z.object({
  floor: number,
  level: number,
  parts: z.array(
    z.object({
      by: z.enum(['class', 'length', 'source']),
      name: z.string(),
      pairs: number,
      covered: number,
      agreeing: number,
      standing: z.enum(['above', 'below', 'undetermined']),
      belowP: number,
    }),
  ),
});

const LearningCurve = z.object({
  points: z.array(z.object({ trainPairs: number, covered: number, agreeing: number })),
  coverage: number,
  exponent: z.object({ value: number, low: number, high: number }),
  furtherPairs: z.object({ value: number.nullable(), low: number.nullable(), high: number.nullable() }),
  reaches: number,
  hope: z.object({ affordable: number, pairs: number, reaches: number, most: number }).optional(),
  payablePairs: number,
  usdPerPair: number,
  ahead: z.array(z.object({ trainPairs: number, value: number, low: number, high: number })).default([]),
});

const Candidate = z.object({
  name: z.string(),
  status: z.string(),
  reason: z.string(),
  onFront: z.boolean(),
  trained: z
    .object({
      ...{ digest: z.string(), agreement: number, coverage: number },
      ...{ sizeBytes: number, latencyUs: number, trainingMs: number },
    })
    .nullable(),
});

const Costs = z.object({
  teacher: z.object({ medianLatencyMs: number, p99LatencyMs: number, usdPerThousand: number }),
  student: z.object({ medianLatencyMs: number, p99LatencyMs: number, cpuMs: number.optional() }),
  deliveredUsdPerThousand: number,
});

export const Shown = z.object({
  runId: z.string(),
  taskDigest: z.string(),
  snapshot: z.object({ digest: z.string(), trainPairs: number, devPairs: number, testPairs: number }),
  student: z.object({ digest: z.string(), family: z.string(), sizeBytes: number }),
  candidates: z.array(Candidate).default([]),
  goal: z.object({
    ...{ agreement: number, coverage: number, confidence: number, latencyMs: number, sizeBytes: number },
  }),
  policy: z.object({ digest: z.string(), threshold: number }).nullable(),
  dev: Dev.nullable(),
  test: Test.nullable(),
  floors: Floors.nullable().default(null),
  twins: z.object({ ofTrain: number, ofTest: number }).nullable().default(null),
  suspects: z
    .object({
      ...{ capped: number, dropped: number, settled: number, retired: number },
      caps: z.array(
        z.object({
          ...{ kind: z.enum(['trigger', 'near-copies']), what: z.string(), origin: z.string(), answer: z.string() },
          ...{ pairs: number, kept: number },
        }),
      ),
      folds: z.object({ pairs: number, agreeing: number, suspects: number }).nullable(),
    })
    .nullable()
    .default(null),
  ceiling: z
    .object({ pairs: number, agreeing: number, lowerBound: number, upperBound: number })
    .nullable()
    .default(null),
  incumbent: z
    .object({
      ...{ digest: z.string(), pairs: number, onlyNew: number, onlyIncumbent: number },
      ...{ difference: share, lowerBound: number },
    })
    .nullable()
    .default(null),
  learningCurve: LearningCurve.nullable().default(null),
  costs: Costs.nullable(),
  gates: z.array(
    z.object({
      name: z.enum(['agreement', 'coverage', 'latencyMs', 'sizeBytes', 'floors', 'incumbent']),
      measured: share,
      bound: number.optional(),
      goal: number,
      passed: z.boolean(),
    }),
  ),
  verdict: z.object({ passed: z.boolean(), reason: z.string(), assumptions: z.string().optional() }),
  evaluatedAt: z.string(),
  machine: z.string(),
});

export type Shown = z.infer<typeof Shown>;
export type ShownTest = z.infer<typeof Test>;
export type ShownFloors = z.infer<typeof Floors>;
export type ShownCurve = z.infer<typeof LearningCurve>;
export type ShownCosts = z.infer<typeof Costs>;

/** Everything that the page is made of. */
export interface PageFacts {
  task: string;
  runId: string;
  reportDigest: string;
  /** The run's verdict, `promoted`, `failed`, …, and its reason; the report's own words are in the report. */
  verdict: string;
  reason: string;
  finishedAt: Date | undefined;
  /** What the teacher was paid for in this run, and in the task's runs before it. */
  spentUsd: number;
  spentBeforeUsd: number;
  teacherCalls: number;
  /** Time of the training stages, of all batches; 0 where it did not come to one. */
  trainingMs: number;
  /** Share of a serving student's answers that is checked against the teacher, and the most that a day allows; 0 where none may be. */
  audit: { share: number; callsPerDay: number; usdPerDay: number };
  traffic: { requestsPerDay: number; origin: string } | undefined;
  /** Assumed for one busy core. */
  wattsPerCore: number;
  report: Shown | undefined;
}
