import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** gRPC address of the evaluator: where a report is asked for before anything moves. */
  EVALUATOR_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
});
export type Config = z.infer<typeof config>;
