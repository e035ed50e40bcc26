import { z } from 'zod';

/** An object whose unknown keys fail with the list of the known ones. */
export function strict<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return undefined;
      const keys: string[] = issue.keys ?? [];
      const secret = keys.some((key) => /^(api_?key|key|token|secret|password)$/i.test(key));
      const advice = secret
        ? 'secrets never go in a task file: put the key in an environment variable or a file and name it with apiKeyEnv or apiKeyFile'
        : 'remove it or correct its spelling';
      return `unknown key ${keys.join(', ')}; expected one of ${Object.keys(shape).join(', ')}; ${advice}`;
    },
  });
}
