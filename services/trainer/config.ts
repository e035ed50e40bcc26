import { availableParallelism } from 'node:os';
import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** gRPC address of the pair store: where the pairs of a snapshot are read. */
  PAIR_STORE_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
  /** Threads of one operator in training. Another number trains a student that differs in the last bits. */
  TRAINING_THREADS: z.coerce.number().int().min(1).max(64).default(availableParallelism()),
});
export type Config = z.infer<typeof config>;
