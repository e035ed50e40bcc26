/** The parts of an evaluation report that the command line shows; the rest of it is the evaluator's. */
import { z } from 'zod';

const share = z.number();

const Evaluation = z.object({
  test: z
    .object({
      selectiveAgreement: z.object({ value: share.nullable(), lowerBound: share }),
      coverage: z.object({ value: share.nullable(), lowerBound: share }),
      deliveredAgreement: share,
      overallAgreement: share,
      pairs: z.int(),
      look: z.int(),
      /** Parts of the answer. */
      heads: z
        .array(
          z.object({
            name: z.string(),
            agreement: share.nullable(),
            selectiveAgreement: share.nullable(),
            precision: share.nullable(),
            recall: share.nullable(),
            f1: share.nullable(),
          }),
        )
        .default([]),
      /** Against the source's own truth, where it has one. */
      accuracy: z
        .object({
          pairs: z.int(),
          teacher: share,
          student: share,
          selectiveStudent: share.nullable(),
          selectiveTeacher: share.nullable(),
          delivered: share,
        })
        .nullable(),
    })
    .nullable(),
  costs: z
    .object({
      teacher: z.object({ medianLatencyMs: z.number() }),
      student: z.object({ medianLatencyMs: z.number() }),
    })
    .nullable(),
  student: z.object({ digest: z.string(), sizeBytes: z.int(), family: z.string() }),
  /** What the trainer tried, cheapest first; on dev. */
  candidates: z
    .array(
      z.object({
        name: z.string(),
        status: z.string(),
        reason: z.string(),
        onFront: z.boolean(),
        trained: z
          .object({
            digest: z.string(),
            agreement: share,
            coverage: share,
            sizeBytes: z.int(),
            latencyUs: z.number(),
            trainingMs: z.number(),
          })
          .nullable(),
      }),
    )
    .default([]),
  /** Null in reports of earlier versions. */
  suspects: z
    .object({
      ...{ capped: z.int(), dropped: z.int(), settled: z.int(), retired: z.int() },
      caps: z.array(
        z.object({
          ...{ kind: z.enum(['trigger', 'near-copies']), what: z.string(), origin: z.string(), answer: z.string() },
          ...{ pairs: z.int(), kept: z.int() },
        }),
      ),
      folds: z.object({ digest: z.string(), pairs: z.int(), agreeing: z.int(), suspects: z.int() }).nullable(),
    })
    .nullable()
    .default(null),
  /** Test pairs that train, or another test pair, has too; null where nobody looked. */
  twins: z.object({ ofTrain: z.int(), ofTest: z.int() }).nullable().default(null),
  /** Null where test was not looked at. */
  floors: z
    .object({ parts: z.array(z.object({ by: z.string(), name: z.string(), standing: z.string() })) })
    .nullable()
    .default(null),
  verdict: z.object({ morePairs: z.int() }),
});

export type Evaluation = z.infer<typeof Evaluation>;

/** @throws when the report lacks what is shown: the evaluator is of another version */
export const parseEvaluation = (reportJson: string): Evaluation => Evaluation.parse(JSON.parse(reportJson));
