import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { messageOf, StartupError } from '@understudy/service/errors';
import { sha256Hex } from '@understudy/task';
import { z } from 'zod';
import { RequestError } from '../errors.ts';
import { keyHeader } from '../proxy/headers.ts';

const minKeyCharacters = 16;

const keysFile = z
  .array(
    z.strictObject({
      /** Whose key it is, for people who read the file. */
      name: z.string().min(1),
      key: z
        .string()
        .min(minKeyCharacters, `expected at least ${minKeyCharacters} characters`)
        .regex(/^[\x21-\x7e]+$/, 'expected printable ASCII without spaces: it travels in a header'),
      /** Tasks it may ask; all where absent. */
      tasks: z.array(z.string()).min(1).optional(),
    }),
  )
  .min(1, 'expected at least one key');

/** What one caller may ask. */
export interface Caller {
  mayAsk(task: string): boolean;
  /** May have calls passed through that are no task's. */
  mayPassThrough: boolean;
  /** The key came in `authorization`, which is for nobody else then. */
  keyInAuthorization: boolean;
}

const everything: Caller = { mayAsk: () => true, mayPassThrough: true, keyInAuthorization: false };

/** Who may ask what. Without a file, anyone who can reach the port may ask anything. */
export class ApiKeys {
  /** By digest of the key: finding one tells nothing about another through time. */
  readonly #callers: ReadonlyMap<string, Omit<Caller, 'keyInAuthorization'>> | undefined;

  private constructor(callers: ReadonlyMap<string, Omit<Caller, 'keyInAuthorization'>> | undefined) {
    this.#callers = callers;
  }

  static none(): ApiKeys {
    return new ApiKeys(undefined);
  }

  /** @throws StartupError naming the file and what is wrong in it, never a key */
  static read(path: string): ApiKeys {
    let json: unknown;
    try {
      json = JSON.parse(readFileSync(path, 'utf8'));
    } catch (error) {
      // The parser's message would quote the file.
      const reason = error instanceof SyntaxError ? 'expected JSON' : messageOf(error);
      throw new StartupError(`API_KEYS_FILE: cannot read ${path}: ${reason}`);
    }
    const parsed = keysFile.safeParse(json);
    if (!parsed.success) {
      const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
      throw new StartupError(`API_KEYS_FILE: ${path}: ${problems.join('; ')}`);
    }
    const callers = parsed.data.map(({ key, tasks }) => {
      const allowed = tasks && new Set(tasks);
      const caller = { mayAsk: (task: string) => allowed?.has(task) ?? true, mayPassThrough: allowed === undefined };
      return [sha256Hex(key), caller] as const;
    });
    return new ApiKeys(new Map(callers));
  }

  get required(): boolean {
    return this.#callers !== undefined;
  }

  /** The caller behind a request's headers. @throws RequestError (unauthorized) */
  callerOf({ authorization, [keyHeader]: own }: IncomingHttpHeaders): Caller {
    if (!this.#callers) return everything;
    const keyInAuthorization = own === undefined;
    const key = keyInAuthorization ? /^Bearer +([\x21-\x7e]+)$/i.exec(authorization ?? '')?.[1] : String(own);
    const caller = key === undefined ? undefined : this.#callers.get(sha256Hex(key));
    if (caller) return { ...caller, keyInAuthorization };
    const came = key === undefined ? 'none came' : 'the one that came is not known';
    throw new RequestError('unauthorized', `expected an API key in the header "Authorization: Bearer KEY": ${came}`);
  }
}
