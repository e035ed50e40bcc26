// What can be set about a platform on one machine. All of it comes from the environment.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readConfig } from '@understudy/service/config';
import { z } from 'zod';

export const root = fileURLToPath(new URL('../..', import.meta.url));

const port = z.coerce.number().int().min(1).max(65_535).optional();

const schema = z.object({
  /** Folder of everything that is not in the repository; relative to the repository. */
  UNDERSTUDY_DATA: z
    .string()
    .min(1)
    .default('.understudy')
    .transform((path) => resolve(root, path)),
  /** Fixed port for clients; a free one, the same as last time if possible, where absent. */
  UNDERSTUDY_HTTP_PORT: port,
  /** Fixed port of nats-server. */
  UNDERSTUDY_NATS_PORT: port,
  /** Replicas: two, because the embedded teacher takes one core each. */
  UNDERSTUDY_TEACHER_GATEWAYS: z.coerce.number().int().min(1).max(16).default(2),
  /** Subjects on which teachers of the kind `nats` are asked, separated by commas. */
  UNDERSTUDY_TEACHER_SUBJECTS: z
    .string()
    .regex(/^[^\s,]+(,[^\s,]+)*$/, 'expected subject patterns separated by commas, e.g. models.>')
    .default('models.>')
    .transform((text) => text.split(',')),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
});

export interface Settings {
  dataDir: string;
  httpPort: number | undefined;
  natsPort: number | undefined;
  teacherGateways: number;
  teacherSubjects: readonly string[];
  logLevel: string;
}

/** @throws StartupError naming each variable that is not as expected */
export const readSettings = (env: NodeJS.ProcessEnv): Settings => {
  const config = readConfig(schema, env);
  return {
    dataDir: config.UNDERSTUDY_DATA,
    httpPort: config.UNDERSTUDY_HTTP_PORT,
    natsPort: config.UNDERSTUDY_NATS_PORT,
    teacherGateways: config.UNDERSTUDY_TEACHER_GATEWAYS,
    teacherSubjects: config.UNDERSTUDY_TEACHER_SUBJECTS,
    logLevel: config.LOG_LEVEL,
  };
};
