import { appendFile, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@understudy/service/errors';
import { canonicalJson, sha256Hex, type Teacher as TeacherSettings, whatShapesItsAnswers } from '@understudy/task';
import type { InputMatcher } from '@understudy/task/versions';
import { z } from 'zod';
import { type Teacher, TeacherError, type TeacherReply, type TeacherRequest, type TeacherTask } from './teacher.ts';

/** Nothing is waited for: more calls at once than any consumer hands out. */
const REPLAY_CONCURRENCY = 1_024;

const lineSchema = z.strictObject({
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  /** Of the prompt that was asked; recordings of earlier versions say nothing of it. */
  promptId: z.string().optional(),
  reply: z.strictObject({
    content: z.string(),
    cutOff: z.literal(true).optional(),
    soft: z.record(z.string(), z.array(z.number())).optional(),
    model: z.string(),
    version: z.string().optional(),
    inputTokens: z.number(),
    outputTokens: z.number(),
  }),
});
type RecordedReply = z.infer<typeof lineSchema>['reply'];

/**
 * What a request is known by: SHA-256 (hex) of all that shapes its answer. Where the teacher is, its key and its prices are
 * not among it.
 */
const digestOf = (asked: string, { text, sampleNumber = 0 }: TeacherRequest): string =>
  sha256Hex(canonicalJson({ asked, text: text.toWellFormed(), sampleNumber }));

const askedOf = ({ instructions, schema, examples }: TeacherTask, teacher: TeacherSettings): string =>
  sha256Hex(canonicalJson({ instructions, schema, examples, teacher: whatShapesItsAnswers(teacher) }));

/**
 * Replies of teachers in a folder, one JSON line each. Every process appends to a file of its own, so any number may record at
 * once. A request that was answered more than once (because an answer fitted no schema, say) has the last of its replies.
 */
export class Recordings {
  readonly #folder: string;
  readonly #file: string;
  #writing: Promise<unknown>;
  #replies: Promise<ReadonlyMap<string, RecordedReply>> | undefined;

  /** @param folder is made when the first reply is recorded */
  constructor(folder: string) {
    this.#folder = folder;
    this.#file = join(folder, `${crypto.randomUUID()}.jsonl`);
    this.#writing = Promise.resolve();
  }

  /** The teacher itself, each of its replies written down before it is given. */
  recorded(teacher: Teacher, task: TeacherTask, settings: TeacherSettings): Teacher {
    const asked = askedOf(task, settings);
    return {
      kind: teacher.kind,
      model: teacher.model,
      maxConcurrency: teacher.maxConcurrency,
      costBound: (request) => teacher.costBound(request),
      answer: async (request, signal) => {
        const reply = await teacher.answer(request, signal);
        await this.#record(digestOf(asked, request), request.promptId, reply);
        return reply;
      },
      [Symbol.asyncDispose]: () => teacher[Symbol.asyncDispose](),
    };
  }

  /** A teacher that answers with what was recorded, needs nothing and costs nothing. */
  replayed(task: TeacherTask, settings: TeacherSettings): Teacher {
    const asked = askedOf(task, settings);
    return {
      kind: settings.kind,
      model: settings.model,
      maxConcurrency: REPLAY_CONCURRENCY,
      costBound: () => ({ usd: 0, tokens: 0 }),
      answer: (request, signal) => this.#replay(task, digestOf(asked, request), signal),
      async [Symbol.asyncDispose]() {},
    };
  }

  /**
   * Takes the replies about some inputs out of all files of the folder: those whose prompt is meant, and those that hold such an input, as replies
   * of a teacher that wrote inputs do. What another process appends meanwhile to a file of its own is looked for again.
   */
  async erase(matcher: InputMatcher): Promise<number> {
    const erasing = this.#writing.catch(() => {}).then(() => eraseReplies(this.#folder, matcher));
    this.#writing = erasing;
    this.#replies = undefined;
    return erasing;
  }

  async #record(digest: string, promptId: string | undefined, { usage, ...reply }: TeacherReply): Promise<void> {
    const { inputTokens, outputTokens, spentUsd } = usage;
    const line = `${JSON.stringify({ digest, promptId, reply: { ...reply, inputTokens, outputTokens } })}\n`;
    const written = this.#writing
      .catch(() => {})
      .then(() => mkdir(this.#folder, { recursive: true }))
      .then(() => appendFile(this.#file, line));
    this.#writing = written;
    try {
      await written;
    } catch (cause) {
      // The answer is there and paid; whoever records for later has to know that it is not written down.
      const message = `a reply cannot be recorded in ${this.#folder}: ${messageOf(cause)}`;
      throw new TeacherError('rejected', message, { cause, spentUsd });
    }
  }

  async #replay(task: TeacherTask, digest: string, signal: AbortSignal): Promise<TeacherReply> {
    signal.throwIfAborted();
    const startedAt = performance.now();
    this.#replies ??= readReplies(this.#folder);
    const reply = (await this.#replies).get(digest);
    if (!reply) {
      throw new TeacherError(
        'rejected',
        `no reply to this request of task ${task.name} was recorded in ${this.#folder} (request ${digest}): record it with TEACHER_RECORD_TO, with the same instructions, examples, schema and model`,
      );
    }
    const { content, cutOff, soft, model, version, inputTokens, outputTokens } = reply;
    return {
      content,
      ...(cutOff ? { cutOff } : {}),
      ...(soft ? { soft } : {}),
      model,
      ...(version === undefined ? {} : { version }),
      usage: { inputTokens, outputTokens, spentUsd: 0, durationMs: performance.now() - startedAt },
    };
  }
}

const eraseReplies = async (folder: string, matcher: InputMatcher): Promise<number> => {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    // It is made with the first reply.
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  let erased = 0;
  for (const name of names.filter((each) => each.endsWith('.jsonl')))
    erased += await eraseFrom(join(folder, name), matcher);
  return erased;
};

const eraseFrom = async (file: string, matcher: InputMatcher): Promise<number> => {
  for (;;) {
    const text = await readFile(file, 'utf8');
    const lines = text.split('\n');
    const kept = lines.filter((line) => !isAbout(matcher, line));
    if (kept.length === lines.length) return 0;
    const fresh = `${file}.erasing`;
    await writeFile(fresh, kept.join('\n'));
    // Somebody appended to it meanwhile: that would be lost.
    if ((await stat(file)).size !== Buffer.byteLength(text)) continue;
    await rename(fresh, file);
    return lines.length - kept.length;
  }
};

const isAbout = (matcher: InputMatcher, line: string): boolean => {
  if (line === '') return false;
  try {
    const { promptId, reply } = lineSchema.parse(JSON.parse(line));
    return (promptId !== undefined && matcher.isMeant(promptId)) || matcher.isWithin(reply.content);
  } catch {
    // The end of a line that a crash cut off: nobody reads it.
    return false;
  }
};

/** @throws TeacherError naming file and line of what is no recorded reply */
const readReplies = async (folder: string): Promise<ReadonlyMap<string, RecordedReply>> => {
  const replies = new Map<string, RecordedReply>();
  const refuse = (what: string, cause: unknown): never => {
    throw new TeacherError('rejected', `recorded replies cannot be read: ${what}`, { cause });
  };
  const names = await readdir(folder).catch((cause) => refuse(messageOf(cause), cause));
  for (const name of names.filter((each) => each.endsWith('.jsonl')).sort()) {
    const lines = (await readFile(join(folder, name), 'utf8')).split('\n');
    // What follows the last line's end was being written when its process died.
    for (const [index, line] of lines.slice(0, -1).entries()) {
      try {
        const { digest, reply } = lineSchema.parse(JSON.parse(line));
        replies.set(digest, reply);
      } catch (cause) {
        refuse(
          `${join(folder, name)}:${index + 1}: ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`,
          cause,
        );
      }
    }
  }
  return replies;
};
