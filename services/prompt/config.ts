import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** gRPC address of the pair store: where a run's answers are counted. */
  PAIR_STORE_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
  /** gRPC address of the teacher gateway: needed by tasks whose inputs the teacher writes. */
  TEACHER_GATEWAY_ADDRESS: z
    .string()
    .regex(/^.+:\d+$/, 'expected host:port')
    .optional(),
  /** Silence that a stage may show beyond what its task allows, before the run is closed. Covers restarts of neighbours. */
  STAGE_GRACE_MS: z.coerce.number().int().min(1_000).max(86_400_000).default(900_000),
});
export type Config = z.infer<typeof config>;
