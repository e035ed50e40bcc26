import { commonConfig } from '@understudy/service/config';
import { z } from 'zod';

const address = z.string().regex(/^(\[[^\]]+\]|[^\s:]+):\d{1,5}$/, 'expected host:port');

/** Settings of the student gateway beside those that every service has. */
export const config = commonConfig.extend({
  /** Where clients are served. Any other than loopback needs API_KEYS_FILE. */
  HTTP_HOST: z.string().min(1).default('127.0.0.1'),
  /** 0 = any free port. */
  HTTP_PORT: z.coerce.number().int().min(0).max(65_535).default(0),
  /** JSON file: `[{"name": "billing", "key": "…", "tasks": ["email-triage"]}]`; without `tasks` a key is for all. */
  API_KEYS_FILE: z.string().min(1).optional(),
  /** gRPC address of a teacher gateway. Without it unsure students have nobody to ask. */
  TEACHER_GATEWAY_ADDRESS: address.optional(),
  /** A client waits no longer than this for the teacher. */
  TEACHER_TIMEOUT_MS: z.coerce.number().int().min(1).max(600_000).default(15_000),
  /** Calls to the teacher gateway at once. The teacher's own limit is the ledger's; this one keeps memory bounded. */
  TEACHER_CONCURRENCY: z.coerce.number().int().min(1).max(10_000).default(64),
  /**
   * Where calls go that are no task's, as they are: the base URL of an OpenAI-compatible server, with the path that stands
   * for /v1. Without it they are refused.
   */
  UPSTREAM_BASE_URL: z
    .url({ protocol: /^https?$/, error: 'expected an http or https URL, e.g. https://api.openai.com/v1' })
    .refine((url) => !/[?#@]/.test(url), 'expected a URL without user, query or fragment; clients bring their own keys')
    .optional(),
  /** `1`: calls that pass through are recorded, and add up to workloads. They hold what clients ask and are told. */
  RECORD_CALLS: z.enum(['0', '1']).default('0'),
  /** JSON file of what the upstream's models cost: `{"MODEL": {"inputUsdPerMillionTokens": 0.15, "outputUsdPerMillionTokens": 0.6}}`. */
  PRICES_FILE: z.string().min(1).optional(),
  /** Files with public Ed25519 keys (PEM). Where one is named, only students, or reports, that one of its keys signed are loaded. */
  TRUSTED_STUDENT_KEYS_FILE: z.string().min(1).optional(),
  TRUSTED_REPORT_KEYS_FILE: z.string().min(1).optional(),
  /** Threads of one student's session. A small student is fastest on one. */
  INFERENCE_THREADS: z.coerce.number().int().min(1).max(256).default(1),
});
export type Config = z.infer<typeof config>;
