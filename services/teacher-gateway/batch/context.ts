import { readFileSync } from 'node:fs';
import { PairStoreService } from '@understudy/contract/pair-store';
import { PromptService } from '@understudy/contract/prompt';
import { TeacherGatewayService } from '@understudy/contract/teacher-gateway';
import { readConfig } from '@understudy/service/config';
import { readIdKey } from '@understudy/service/id-key';
import { createClient, type RpcClient } from '@understudy/service/rpc/client';
import { type CompiledTask, compileTask, parseTask } from '@understudy/task';
import { z } from 'zod';
import { config as gatewayConfig, keysOf } from '../config.ts';
import type { OpenAiAccess } from '../teachers/openai.ts';
import { OpenAiChat, type OpenAiSettings } from '../teachers/openai-chat.ts';
import { teacherTaskOf } from '../teachers/teacher-task.ts';
import { BatchError } from './book.ts';
import { MAX_FILE_REQUESTS, MIN_POLL_MS } from './limits.ts';

const address = z.string().regex(/^.+:\d+$/, 'expected host:port');

/** What this process takes of the environment, beside the key that the task names. */
const config = z.object({
  PROMPT_ADDRESS: address,
  PAIR_STORE_ADDRESS: address,
  TEACHER_GATEWAY_ADDRESS: address,
  RPC_TOKEN_FILE: z.string().min(1).optional(),
  ID_KEY_FILE: z.string().min(1).optional(),
  TEACHER_ALLOWED_ADDRESSES: gatewayConfig.shape.TEACHER_ALLOWED_ADDRESSES,
  /** Between the first two looks at a batch; later ones are further apart. */
  BATCH_POLL_MS: z.coerce.number().int().min(1).max(300_000).default(MIN_POLL_MS),
});

/** A `BatchRequest` with what it leaves out. */
const requestSchema = z.strictObject({
  task: z.string(),
  taskDigest: z.string(),
  book: z.string().min(1),
  submit: z.boolean(),
  out: z.string().min(1).optional(),
  prompts: z.int().min(1).optional(),
  perFile: z.int().min(1).max(MAX_FILE_REQUESTS, `expected at most ${MAX_FILE_REQUESTS}`).default(MAX_FILE_REQUESTS),
});

export interface BatchContext extends Disposable {
  request: z.output<typeof requestSchema>;
  compiled: CompiledTask;
  chat: OpenAiChat;
  settings: OpenAiSettings;
  access: OpenAiAccess;
  pollMs: number;
  prompt: RpcClient<typeof PromptService>;
  pairStore: RpcClient<typeof PairStoreService>;
  gateway: RpcClient<typeof TeacherGatewayService>;
}

/** @throws BatchError when batches do not fit this task; StartupError when a setting is not as expected */
export const openContext = async (requestJson: string, env: NodeJS.ProcessEnv): Promise<BatchContext> => {
  const { data: request, error } = requestSchema.safeParse(JSON.parse(requestJson));
  if (!request) throw new BatchError(z.prettifyError(error));
  // The environment is that of the command line, whose own settings are none of this process's.
  const own = Object.fromEntries(Object.keys(config.shape).map((name) => [name, env[name]]));
  const settings = readConfig(config, own);
  const token = settings.RPC_TOKEN_FILE && readFileSync(settings.RPC_TOKEN_FILE, 'utf8').trim();
  const prompt = createClient(PromptService, { address: settings.PROMPT_ADDRESS, token });
  const pairStore = createClient(PairStoreService, { address: settings.PAIR_STORE_ADDRESS, token });
  const gateway = createClient(TeacherGatewayService, { address: settings.TEACHER_GATEWAY_ADDRESS, token });
  const { task: name, taskDigest } = request;
  const { taskJson } = await prompt.getTask({ task: name, taskDigest });
  const compiled = compileTask(parseTask(taskJson), readIdKey(settings.ID_KEY_FILE));
  const teacher = openAiOf(compiled);
  return {
    request,
    compiled,
    chat: new OpenAiChat(teacherTaskOf(compiled), teacher),
    settings: teacher,
    access: { env: keysOf(env), addresses: settings.TEACHER_ALLOWED_ADDRESSES },
    pollMs: settings.BATCH_POLL_MS,
    ...{ prompt, pairStore, gateway },
    [Symbol.dispose]: () => {
      for (const { close } of [prompt, pairStore, gateway]) close();
    },
  };
};

const openAiOf = ({ task: { name, teacher } }: CompiledTask): OpenAiSettings => {
  if (teacher.kind !== 'openai') {
    throw new BatchError(`task ${name}: expected a teacher of the kind openai for a batch, got ${teacher.kind}`);
  }
  if (teacher.samples !== undefined) {
    throw new BatchError(`task ${name}: a batch asks each prompt once, and teacher.samples wants more; use a run`);
  }
  return teacher;
};
