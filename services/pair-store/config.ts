import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

export const config = commonConfig.extend({
  /** A PostgreSQL server; several pair stores may share it. Without it the pairs live in `pglite` in the data folder. */
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\/\S+$/, 'expected postgres://user:password@host:port/database')
    .optional(),
});
export type Config = z.infer<typeof config>;
