import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** gRPC address of the pair store: where the pairs of a snapshot are read. */
  PAIR_STORE_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
  /** File with the private Ed25519 key (PEM) that signs reports; they stay unsigned where absent. */
  REPORT_SIGNING_KEY_FILE: z.string().min(1).optional(),
  /** gRPC address of a teacher gateway: for tasks with `goal.ceilingSample`, whose teacher is asked again. */
  TEACHER_GATEWAY_ADDRESS: z
    .string()
    .regex(/^.+:\d+$/, 'expected host:port')
    .optional(),
});
export type Config = z.infer<typeof config>;
