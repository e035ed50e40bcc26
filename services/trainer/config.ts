import { availableParallelism } from 'node:os';
import { DEVICE_WISHES, ENGINE_WISHES } from '@understudy/graph';
import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** gRPC address of the pair store: where the pairs of a snapshot are read. */
  PAIR_STORE_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
  /** Where encoders named by `training.encoder.hub` are fetched, by the paths of the Hugging Face hub. */
  ENCODER_HUB_URL: z.url({ protocol: /^https?$/ }).default('https://huggingface.co'),
  /** File with the private Ed25519 key (PEM) that signs students; they stay unsigned where absent. */
  STUDENT_SIGNING_KEY_FILE: z.string().min(1).optional(),
  /** Threads of one operator in training. Another number trains a student that differs in the last bits. */
  TRAINING_THREADS: z.coerce.number().int().min(1).max(64).default(availableParallelism()),
  /** What trains: ONNX Runtime, TensorFlow.js, or the best that works here. */
  TRAINER_ENGINE: z.enum(ENGINE_WISHES).default('auto'),
  /** Where it trains. The service refuses to start where what is asked for cannot be used; `auto` takes what there is. */
  TRAINER_DEVICE: z.enum(DEVICE_WISHES).default('auto'),
});
export type Config = z.infer<typeof config>;
