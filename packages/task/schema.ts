import { z } from 'zod';
import { AuditSchema, DeploymentPolicySchema, ForgetPolicySchema } from './deployment-policy.ts';
import { MAX_BUDGET_CALLS, MAX_EXAMPLES, MAX_RENDERED_CHARACTERS } from './limits.ts';
import { RESERVED_ORIGINS } from './origin.ts';
import { OutputJsonSchema } from './output/schema.ts';
import { strict } from './strict.ts';

const fraction = z.number().min(0).max(1);
const positiveInt = z.int().min(1);
const path = z.string().min(1, 'expected a path');

const Rate = strict({
  requestsPerMinute: positiveInt.optional(),
  /** Read and written together, over all gateways; the most that a call can use is taken before it, the rest comes back after. */
  tokensPerMinute: positiveInt.optional(),
  /** Calls in flight over all gateways together. 16 keeps a 100 ms teacher at 160 answers/s without flooding a laptop's model server. */
  concurrency: positiveInt.max(10_000).default(16),
});

/** USD per million tokens, as providers list it. */
const Pricing = strict({
  inputUsdPerMillionTokens: z.number().min(0),
  outputUsdPerMillionTokens: z.number().min(0),
});

const teacherLimits = {
  rate: Rate.prefault({}),
  /** One call, retries apart. A minute covers a large model under load; beyond it the connection is dead. */
  timeoutMs: positiveInt.max(600_000).default(60_000),
  /** Further tries after the first. Four with doubling waits ride out a restart or a 429, and stay affordable: each is paid from the budget. */
  maxRetries: z.int().min(0).max(20).default(4),
  /** Raise it to have everything asked again after the teacher changed under the same name. Part of the fingerprint. */
  epoch: z.int().min(0).default(0),
};

/**
 * Answers asked of each prompt that is to be learnt from; their distribution is what students are trained on. Each is paid. For
 * teachers that do not always answer alike; where a server gives log-probabilities, `topLogprobs` says the same in one call.
 */
const samples = z.int().min(2).max(32).optional();

const EmbeddedTeacher = strict({
  kind: z.literal('embedded'),
  /** A sentence encoder on this machine with a head fitted to the task's examples. */
  model: z.literal('universal-sentence-encoder-lite'),
  ...teacherLimits,
});

const baseUrl = z
  .url({ protocol: /^https?$/, error: 'expected an http or https URL, e.g. https://api.openai.com/v1' })
  .refine(
    (url) => !hasCredentials(url),
    'expected a URL without user or password, got one with them; name a key with apiKeyEnv or apiKeyFile',
  );

const apiKey = {
  apiKeyEnv: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, 'expected the name of an environment variable, e.g. OPENAI_API_KEY')
    .optional(),
  apiKeyFile: path.optional(),
};
const hasOneKey = (teacher: { apiKeyEnv?: string | undefined; apiKeyFile?: string | undefined }) =>
  teacher.apiKeyEnv === undefined || teacher.apiKeyFile === undefined;
const oneKey = { path: ['apiKeyFile'], message: 'expected apiKeyEnv or apiKeyFile, got both; keep one' };

const OpenAiTeacher = strict({
  kind: z.literal('openai'),
  baseUrl,
  model: z.string().min(1),
  ...apiKey,
  /** 0: the most likely answer; agreement is measured against one answer a prompt. */
  temperature: z.number().min(0).max(2).default(0),
  /** One enum field is a few tokens; 256 leaves room for a fenced block and bounds what a call can cost. */
  maxOutputTokens: positiveInt.max(100_000).default(256),
  /** Ask for the log-probabilities of so many alternatives to each token, and train students on the distribution. For servers that give them. */
  topLogprobs: positiveInt.max(20).optional(),
  samples,
  pricing: Pricing.optional(),
  ...teacherLimits,
})
  .refine(hasOneKey, oneKey)
  .refine(({ samples, temperature }) => samples === undefined || temperature > 0, {
    path: ['samples'],
    message: 'expected a temperature above 0, because at 0 all samples are the same answer; set teacher.temperature',
  })
  .refine(({ samples, topLogprobs }) => samples === undefined || topLogprobs === undefined, {
    path: ['samples'],
    message: 'expected samples or topLogprobs, got both; keep one: log-probabilities cost one call',
  });

const AnthropicTeacher = strict({
  kind: z.literal('anthropic'),
  baseUrl: baseUrl.default('https://api.anthropic.com'),
  model: z.string().min(1),
  ...apiKey,
  /** Room for a structured answer, and for some thinking of models that think unasked; bounds what a call can cost. */
  maxOutputTokens: positiveInt.max(100_000).default(1_024),
  samples,
  pricing: Pricing.optional(),
  ...teacherLimits,
}).refine(hasOneKey, oneKey);

const OnnxTeacher = strict({
  kind: z.literal('onnx'),
  /** What it goes by in reports; the digest of its files tells versions apart. */
  model: z.string().min(1),
  /** A model in Hugging Face layout with an ONNX export. The teacher-gateway reads it, so in a cluster it is a path of the gateway's. */
  folder: path,
  /** Label of the model → label of the task, where they differ. With a hypothesis: label of the task → what it is called there. */
  labels: z.record(z.string(), z.string()).default({}),
  /** For a model of natural language inference: what is said of a text that has a label, e.g. `This message is about {label}.` */
  hypothesis: z
    .string()
    .refine((text) => text.includes('{label}'), 'expected a sentence with {label} in it')
    .optional(),
  ...teacherLimits,
});

const NatsTeacher = strict({
  kind: z.literal('nats'),
  subject: z
    .string()
    .regex(/^[^\s.*>]+(\.[^\s.*>]+)*$/, 'expected a NATS subject without wildcards, e.g. models.triage'),
  model: z.string().min(1),
  samples,
  pricing: Pricing.optional(),
  ...teacherLimits,
});

const Teacher = z.discriminatedUnion(
  'kind',
  [EmbeddedTeacher, OpenAiTeacher, AnthropicTeacher, OnnxTeacher, NatsTeacher],
  {
    error: (issue) =>
      issue.code === 'invalid_union'
        ? 'expected kind: embedded, openai, anthropic, onnx or nats; correct it'
        : undefined,
  },
);

/** Where a record's true output is, if the source has one. Used only to report accuracy. */
const Reference = strict({
  field: z.string().min(1),
  /** Value in the source → label of the task; without it the value is the label. */
  map: z.record(z.string(), z.string()).optional(),
});

const limit = positiveInt.optional();
/** Task field → name in the source, where they differ. */
const fields = z.record(z.string(), z.string().min(1)).optional();

/** true: only records that read like the task's examples; what is left out is counted and shown. */
const relevantOnly = z.boolean().optional();

/** What its inputs are said to come from, in pairs and reports. Its path as written where absent, else its kind; see `originOf`. */
const name = z
  .string()
  .regex(/^[^\p{Cc}]{1,200}$/u, 'expected 1 to 200 characters on one line')
  .refine((given) => !RESERVED_ORIGINS.has(given), 'expected another name: traffic and ask are those of live inputs')
  .optional();

/** A file, or `s3://bucket/key?endpoint=URL&region=NAME`. */
const records = { name, path, fields, reference: Reference.optional(), relevantOnly, limit };

const WeightedText = z.union([z.string(), strict({ text: z.string(), weight: z.number().positive().max(1e6) })]);
const lexiconName = z
  .string()
  .regex(/^[A-Za-z][\w-]{0,63}$/, 'expected letters, digits, _ and -, starting with a letter');

const Grammar = strict({
  kind: z.literal('grammar'),
  name,
  /** Inputs with `{{slot}}` or `{{slot:lexicon}}` in them; what a slot is filled with may have slots too. */
  templates: z
    .array(strict({ fields: z.record(z.string(), z.string()), weight: z.number().positive().max(1e6).default(1) }))
    .min(1)
    .max(1_000),
  lexicons: z.record(lexiconName, z.array(WeightedText).min(1).max(100_000)).default({}),
  seed: z.int().min(0).max(2_147_483_647).default(1),
  /** true: real inputs are made just like this, so that a sample of them may judge. */
  population: z.boolean().default(false),
  limit: positiveInt.max(MAX_BUDGET_CALLS),
});

const Written = strict({
  kind: z.literal('written'),
  name,
  /** Distinct inputs wanted of the teacher. */
  limit: positiveInt.max(100_000),
  /** Who writes such inputs, and what they are like. */
  about: z.string().max(4_000).default(''),
  /** What inputs should differ in; each call asks for one value of each. */
  attributes: z.record(lexiconName, z.array(z.string().min(1).max(500)).min(2).max(100)).default({}),
});

const Source = z.discriminatedUnion(
  'kind',
  [
    strict({ kind: z.literal('jsonl'), ...records }),
    strict({ kind: z.literal('csv'), ...records }),
    strict({ kind: z.literal('parquet'), ...records }),
    strict({ kind: z.literal('lines'), name, path, relevantOnly, limit }),
    /** Calls that were made and answered before: finished pairs. */
    strict({
      kind: z.literal('log'),
      name,
      path,
      /** true: the log is a random sample of the task's requests, so that its pairs may judge. */
      population: z.boolean().default(false),
      relevantOnly,
      limit,
    }),
    Grammar,
    Written,
    strict({
      kind: z.literal('folder'),
      name,
      path,
      format: z.enum(['text', 'email']),
      /** Only files whose names end so, e.g. `.eml`; all where absent. */
      suffix: z.string().min(1).optional(),
      /** Name of a file's folder → label. */
      reference: strict({ map: z.record(z.string(), z.string()) }).optional(),
      relevantOnly,
      limit,
    }),
  ],
  {
    error: (issue) =>
      issue.code === 'invalid_union'
        ? 'expected kind: jsonl, csv, parquet, lines, folder, log, grammar or written; correct it'
        : undefined,
  },
);

const Example = strict({
  input: z.record(z.string(), z.string()),
  output: z.record(z.string(), z.unknown()),
});

/** Families of students, cheapest first. */
const families = ['bag', 'conv', 'transformer', 'encoder'] as const;

/** A published encoder that a student may start from. */
const Encoder = strict({
  /** A folder in Hugging Face layout with an ONNX export. The trainer reads it, so in a cluster it is a path of the trainer's. */
  folder: path.optional(),
  /** Of a model hub: the commit pins what the trainer fetches, once. */
  hub: z
    .string()
    .regex(
      /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*@[0-9a-f]{40}$/,
      'expected owner/name@commit with all 40 digits of the commit',
    )
    .optional(),
  /** How much of it is trained beside the head. All of it agrees best and takes longest. */
  train: z.enum(['heads', 'last-layers', 'all']).default('all'),
}).refine(({ folder, hub }) => (folder === undefined) !== (hub === undefined), 'expected either folder or hub');

/** What a task is, everything inline. `loadTask` resolves a file to this; cross-field rules are in `validate.ts`. */
export const TaskSchema = strict({
  name: z.string().regex(/^[a-z0-9-]{1,48}$/, 'expected 1 to 48 of a-z, 0-9 and -: it is a token of bus subjects'),
  description: z.string().max(1_000).default(''),
  input: strict({
    fields: z
      .array(z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/, 'expected letters, digits and _, starting with a letter'))
      .min(1)
      .max(32)
      .refine((names) => new Set(names).size === names.length, 'expected distinct fields; remove the repeated one'),
  }),
  prompt: strict({
    instructions: z.string().min(1),
    template: z.string().min(1),
    maxCharacters: positiveInt.max(MAX_RENDERED_CHARACTERS),
    /** true: a longer text is cut at maxCharacters, for teacher and student alike; false: it is refused. */
    truncate: z.boolean().default(true),
  }),
  output: strict({ schema: OutputJsonSchema }),
  examples: z.array(Example).max(MAX_EXAMPLES).default([]),
  teacher: Teacher,
  sources: z.array(Source).max(64).default([]),
  budget: strict({
    /** Calls to the teacher that one run may make. */
    calls: positiveInt.max(MAX_BUDGET_CALLS),
    usd: z.number().min(0),
  }),
  goal: strict({
    agreement: fraction,
    /** 0.8: below it the teacher still answers a fifth, and most of the saving is gone. */
    coverage: fraction.default(0.8),
    /** One minus the chance to promote a student below its goal. */
    confidence: z.number().min(0.5).max(0.9999).default(0.95),
    /** No class and no length of text may agree less. Ten points below `agreement` where absent. */
    floor: fraction.optional(),
    /** How much less a new student may agree than the one in service, where that one answers: proven, or it is not replaced. For two that differ on 3% of the pairs, half a point takes 4,000 test pairs for an even chance. */
    nonInferiorityMargin: fraction.default(0.01),
    /** Inputs that the teacher is asked a second time, out of the run's budget: a goal above its agreement with itself is refused with the figure. 100 tell 85% from 95%. */
    ceilingSample: z.int().min(0).max(10_000).default(0),
    /** A keystroke's worth; students of this platform take well under it on one core. */
    latencyMs: z.number().positive().default(20),
    /** What a browser or a phone downloads without being asked twice. */
    sizeBytes: positiveInt.default(5_000_000),
  }),
  splits: strict({
    /** Chooses temperature, threshold and epoch count: 500 of 5,000 give each within about two points. */
    dev: z.number().min(0.01).max(0.4).default(0.1),
    /** 1,000 of the first 5,000: a student at 0.97 clears a goal of 0.95 in 94% of first looks. */
    test: z.number().min(0.01).max(0.4).default(0.2),
  }).prefault({}),
  batches: strict({
    /**
     * Prompts of the first batch. Where absent 5,000, which give a test split of 1,000, and no more than about a seventh of the budget: what
     * cannot be distilled is to cost less than a fifth of it. A number that is given is taken as it is.
     */
    first: positiveInt.max(MAX_BUDGET_CALLS).optional(),
    /** Each further batch is this many times all that was asked before: learning curves are straight in the logarithm of the pairs. */
    growth: z.number().min(0.1).max(10).default(1),
    /** Of further batches: `active` asks mostly what the student of the batch before is unsure of. */
    selection: z.enum(['random', 'active']).default('random'),
  }).prefault({}),
  training: strict({
    /** Another one gives students that differ by chance alone. */
    seed: z.int().min(0).max(2_147_483_647).default(1),
    /** The whole search. A bag takes under a minute on two cores, what comes above it some minutes; then the best so far is taken. */
    maxMinutes: z.number().positive().max(1_440).default(10),
    /** At most so many of the trainer's threads; all of them where absent. */
    threads: positiveInt.max(256).optional(),
    /** Families to try; where absent all of them, `encoder` only with `training.encoder`. */
    families: z
      .array(z.enum(families))
      .min(1)
      .refine((names) => new Set(names).size === names.length, 'expected distinct families; remove the repeated one')
      .optional(),
    encoder: Encoder.optional(),
    /** true: the cheapest family is also trained on two thirds of train, three times over, to find pairs whose answer a student that did not learn from them is sure to contradict. Costs about twice its training. */
    findSuspects: z.boolean().default(false),
  }).prefault({}),
  /** What live requests may spend on the teacher each day (UTC), apart from runs. */
  live: strict({
    /** A student that covers 0.9 of 100,000 requests a day leaves so many. */
    callsPerDay: z.int().min(0).default(10_000),
    /** 0: with a teacher that has a price, no live request reaches it until the task's owner says what it may cost. */
    usdPerDay: z.number().min(0).default(0),
    /** Checks of a serving student's answers. `auditPolicyOf` fills in what is left out. */
    audit: AuditSchema.optional(),
  }).prefault({}),
  /** How a proven student comes to serve. `deploymentPolicyOf` fills in what is left out. */
  deployment: DeploymentPolicySchema.optional(),
  /**
   * true: calls to any model with this task's instructions as their system prompt, its output schema, and a user message in
   * the frame of its template are this task's, as if they had named it. A list: those of these workloads, in the frame.
   */
  matchCalls: z
    .union(
      [z.boolean(), z.array(z.string().regex(/^[0-9a-f]{64}$/, 'expected the 64 hex digits of a workload')).min(1)],
      {
        error: 'expected true, false, or a list of workloads; correct it',
      },
    )
    .default(false),
  /** What a client gets when the student is unsure and the teacher cannot be reached. */
  onTeacherUnavailable: z.enum(['fail', 'answer-unsure']).default('fail'),
  /** What becomes of students that learnt from an input which is forgotten. `forgetPolicyOf` fills in what is left out. */
  forget: ForgetPolicySchema.optional(),
  /** Keep what clients' requests contain. Off unless the task's owner says so. */
  recordTraffic: z.boolean().default(false),
});

export type Task = z.infer<typeof TaskSchema>;
export type Teacher = Task['teacher'];
export type TeacherKind = Teacher['kind'];
export type Source = Task['sources'][number];
export type Example = Task['examples'][number];

function hasCredentials(url: string): boolean {
  const parsed = new URL(url);
  return parsed.username !== '' || parsed.password !== '';
}
