import { type TeacherKind, teacherKinds } from '@understudy/contract';
import { commonConfig } from '@understudy/service/config';
import { messageOf } from '@understudy/service/errors';
import { AddressRules } from '@understudy/service/outbound';
import { z } from 'zod';
import { DEFAULT_CONCURRENCY, MAX_OUTAGE_PATIENCE_MS } from './limits.ts';

const kinds = teacherKinds.join(', ');

/** Settings of the teacher gateway beside those that every service has. */
export const config = commonConfig.extend({
  /** gRPC address of the pair store: where answers that were paid for already are looked up. */
  PAIR_STORE_ADDRESS: z.string().regex(/^.+:\d+$/, 'expected host:port'),
  /** Kinds of teachers that this replica asks, separated by commas. */
  TEACHER_KINDS: z
    .string()
    .default(teacherKinds.join(','))
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(teacherKinds, `expected some of ${kinds}, separated by commas`)).min(1)),
  /**
   * Where teachers' URLs may lead beside public addresses: addresses, ranges, `loopback` and `private`, separated by commas.
   * Tasks name URLs, so without this anybody who may apply one could have this service ask machines that only it can reach.
   */
  TEACHER_ALLOWED_ADDRESSES: z
    .string()
    .default('')
    .transform((text, context) => {
      try {
        return new AddressRules(text.split(',').filter((entry) => entry !== ''));
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) });
        return z.NEVER;
      }
    }),
  /** Folder in which every reply of a teacher is written down, for replay. It holds answers, neither prompts nor keys. */
  TEACHER_RECORD_TO: z.string().min(1).optional(),
  /** Folder of recorded replies that are given in the teachers' place: no teacher is asked, nothing is paid. */
  TEACHER_REPLAY_FROM: z.string().min(1).optional(),
  /**
   * After a teacher has been away for so long, prompts are declined with what it said last. Ten minutes are less than the
   * prompt service lets a run be silent (STAGE_GRACE_MS), so that the run ends with that reason and with what it got before.
   * Of a longer outage than two hours the deliveries that a prompt has would be the end (`asking` in the contract's table).
   */
  OUTAGE_PATIENCE_MS: z.coerce.number().int().min(0).max(MAX_OUTAGE_PATIENCE_MS).default(600_000),
  /** Calls that this replica has in flight at one teacher at most; by default what suits its kind. */
  TEACHER_CONCURRENCY: z.coerce.number().int().min(1).max(4_096).optional(),
});
export type Config = z.infer<typeof config>;

export const concurrencyOf = (config: Config, kind: TeacherKind): number =>
  config.TEACHER_CONCURRENCY ?? DEFAULT_CONCURRENCY[kind];

/** A task may name any variable as the place of its teacher's key, but none of this service's own settings. */
export const keysOf = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !Object.hasOwn(config.shape, name)));
