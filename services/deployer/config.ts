import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

const address = z.string().regex(/^.+:\d+$/, 'expected host:port');

export const config = commonConfig.extend({
  /** gRPC address of the evaluator: where a report is asked for before anything moves. */
  EVALUATOR_ADDRESS: address,
  /** Of the pair store and a teacher gateway: where the teacher is asked again what a student learnt from. */
  PAIR_STORE_ADDRESS: address,
  TEACHER_GATEWAY_ADDRESS: address,
  /** Files with public Ed25519 keys (PEM). Where one is named, only students, or reports, that one of its keys signed are promoted. */
  TRUSTED_STUDENT_KEYS_FILE: z.string().min(1).optional(),
  TRUSTED_REPORT_KEYS_FILE: z.string().min(1).optional(),
});
export type Config = z.infer<typeof config>;
