import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { messageOf, StartupError } from './errors.ts';

const port = z.coerce.number().int().min(0).max(65_535);

/** Every service's settings. The environment is read once, here; `.extend()` it in a service's `config.ts`. */
export const commonConfig = z.object({
  /** `production` turns gRPC reflection off. */
  NODE_ENV: z.enum(['development', 'production', 'test']).default('production'),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
  NATS_URL: z
    .string()
    .regex(/^(nats|tls):\/\/[^\s]+$/, 'expected nats://host:port or tls://host:port')
    .default('nats://127.0.0.1:4222'),
  /** File with the nkey seed of this service's NATS user; no authentication where absent. */
  NATS_NKEY_FILE: z.string().min(1).optional(),
  /** Prefix of all subjects, streams and buckets on a bus shared with others. */
  SUBJECT_PREFIX: z
    .string()
    .regex(/^([a-z0-9-]+(\.[a-z0-9-]+)*)?$/, 'expected tokens of a-z, 0-9 and "-", joined by dots')
    .default(''),
  GRPC_HOST: z.string().min(1).default('127.0.0.1'),
  /** 0 = any free port. */
  GRPC_PORT: port.default(0),
  /** Prometheus metrics, liveness and readiness over HTTP; 0 = any free port. */
  METRICS_PORT: port.default(0),
  /** Metrics hold counts and times, no content, and need no token: open them to a network of your own only. */
  METRICS_HOST: z.string().min(1).default('127.0.0.1'),
  /** File with the bearer token that callers on this machine share; none is asked for where absent. */
  RPC_TOKEN_FILE: z.string().min(1).optional(),
  /** File with the platform's secret that ids made of content are keyed by; see `readIdKey`. */
  ID_KEY_FILE: z.string().min(1).optional(),
  DATA_DIR: z
    .string()
    .min(1)
    .default('.understudy')
    .transform((path) => resolve(path)),
  /** `file:///absolute/folder` or `s3://bucket/prefix?endpoint=…`. Default: `blobs` in the data folder. */
  BLOB_URL: z
    .string()
    .regex(/^(file|s3):\/\//, 'expected file:///folder or s3://bucket')
    .optional(),
  /** Credentials for an S3 bucket; the `_FILE` variants name files that hold them. */
  AWS_ACCESS_KEY_ID: z.string().min(1).optional(),
  AWS_SECRET_ACCESS_KEY: z.string().min(1).optional(),
  AWS_SESSION_TOKEN: z.string().min(1).optional(),
  AWS_ACCESS_KEY_ID_FILE: z.string().min(1).optional(),
  AWS_SECRET_ACCESS_KEY_FILE: z.string().min(1).optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
  /** Spans are also written to this folder as JSON lines, one file a service. */
  TRACES_DIR: z.string().min(1).optional(),
  /** Share of prompts whose own spans are recorded; a run's spans always are. */
  TRACE_PROMPTS_RATIO: z.coerce.number().min(0).max(1).default(0.01),
  /** `1`: standard input is a pipe held by the supervisor, and its end means drain and exit. */
  UNDERSTUDY_PARENT_PIPE: z.enum(['0', '1']).default('0'),
  /** How long a stopping service may take to finish what it began. */
  DRAIN_TIMEOUT_MS: z.coerce.number().int().min(0).max(600_000).default(20_000),
});
export type CommonConfig = z.infer<typeof commonConfig>;

/**
 * Decodes the environment strictly: every problem at once, each naming its variable. A variable that starts with
 * `UNDERSTUDY_` and is not known is refused; other unknown variables belong to somebody else. An empty value
 * counts as absent.
 * @throws StartupError naming each variable, what was expected and what came
 */
export const readConfig = <C>(schema: z.ZodType<C> & { shape: object }, env: NodeJS.ProcessEnv): C => {
  const known = new Set(Object.keys(schema.shape));
  const given = Object.fromEntries(Object.entries(env).filter(([key, value]) => known.has(key) && value !== ''));
  const unknown = Object.keys(env).filter((key) => key.startsWith('UNDERSTUDY_') && !known.has(key));
  const problems = unknown.map((key) => `${key}: no such setting`);
  const parsed = schema.safeParse(given);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const key = String(issue.path[0] ?? '');
      const came = given[key] === undefined ? 'nothing' : JSON.stringify(given[key]);
      problems.push(`${key}: ${issue.message} (came: ${came})`);
    }
  }
  if (problems.length > 0 || !parsed.success) {
    throw new StartupError(`the environment is not usable:\n  ${problems.join('\n  ')}`);
  }
  return parsed.data;
};

/**
 * Reads a one-line secret. The error names the file, never its content.
 * @throws StartupError when it cannot be read or is empty
 */
export const readSecretFile = (path: string, variable: string): string => {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new StartupError(`${variable}: cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  if (text === '') throw new StartupError(`${variable}: ${path} is empty`);
  return text;
};
