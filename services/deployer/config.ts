import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

const address = z.string().regex(/^.+:\d+$/, 'expected host:port');

export const config = commonConfig.extend({
  /** gRPC address of the evaluator: where a report is asked for before anything moves. */
  EVALUATOR_ADDRESS: address,
  /** Of the pair store and a teacher gateway: where the teacher is asked again what a student learnt from. */
  PAIR_STORE_ADDRESS: address,
  TEACHER_GATEWAY_ADDRESS: address,
});
export type Config = z.infer<typeof config>;
