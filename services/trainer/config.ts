import { availableParallelism } from 'node:os';
import { DEVICES } from '@understudy/graph';
import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** gRPC address of the pair store: where the pairs of a snapshot are read. */
  PAIR_STORE_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
  /** Where encoders named by `training.encoder.hub` are fetched, by the paths of the Hugging Face hub. */
  ENCODER_HUB_URL: z.url({ protocol: /^https?$/ }).default('https://huggingface.co'),
  /** Threads of one operator in training. Another number trains a student that differs in the last bits. */
  TRAINING_THREADS: z.coerce.number().int().min(1).max(64).default(availableParallelism()),
  /** Where training steps run. The service refuses to start where the device cannot be used. */
  TRAINER_DEVICE: z.enum(DEVICES).default('cpu'),
});
export type Config = z.infer<typeof config>;
