import { readFileSync } from 'node:fs';
import { messageOf, StartupError } from '@understudy/service/errors';
import { z } from 'zod';

/** USD per million tokens, as providers list them. */
export interface Price {
  inputUsdPerMillionTokens: number;
  outputUsdPerMillionTokens: number;
}

const usd = z.number().min(0);
const table = z.record(
  z.string().min(1),
  z.strictObject({ inputUsdPerMillionTokens: usd, outputUsdPerMillionTokens: usd }),
);

/** What the upstream's models cost, as the operator says. */
export class Prices {
  readonly #byModel: ReadonlyMap<string, Price>;

  private constructor(byModel: ReadonlyMap<string, Price>) {
    this.#byModel = byModel;
  }

  static none(): Prices {
    return new Prices(new Map());
  }

  /** @throws StartupError naming the file and what is wrong in it */
  static read(path: string): Prices {
    let json: unknown;
    try {
      json = JSON.parse(readFileSync(path, 'utf8'));
    } catch (error) {
      throw new StartupError(`PRICES_FILE: cannot read ${path}: ${messageOf(error)}`, { cause: error });
    }
    const parsed = table.safeParse(json);
    if (parsed.success) return new Prices(new Map(Object.entries(parsed.data)));
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new StartupError(`PRICES_FILE: ${path}: ${problems.join('; ')}`);
  }

  /** The price of a model by the first of its names that is listed: providers answer under a longer one than they are asked for. */
  of(...names: readonly (string | undefined)[]): Price | undefined {
    for (const name of names) {
      const price = name === undefined ? undefined : this.#byModel.get(name);
      if (price) return price;
    }
    return undefined;
  }
}
