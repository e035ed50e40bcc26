import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** gRPC address of the pair store: where the pairs of a snapshot are read. */
  PAIR_STORE_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
  /** Threads of one operator: few, because students are small and others share the machine. */
  INFERENCE_THREADS: z.coerce.number().int().min(1).max(64).default(1),
});
export type Config = z.infer<typeof config>;
