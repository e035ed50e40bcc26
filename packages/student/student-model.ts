import type { SessionOptions } from '@understudy/graph';
import type { Bundle } from './bundle.ts';
import { type Description, headsOf } from './description.ts';
import type { Prediction } from './heads/read.ts';
import { openPredictor, type Predictor } from './predictor.ts';

/** A student that answers. One call occupies its thread; keep it off a thread that serves connections. */
export class StudentModel {
  readonly digest: string;
  readonly description: Description;
  readonly #predictor: Predictor;
  readonly #tokenizer: Bundle['tokenizer'];

  private constructor({ digest, description, tokenizer }: Bundle, predictor: Predictor) {
    this.digest = digest;
    this.description = description;
    this.#predictor = predictor;
    this.#tokenizer = tokenizer;
  }

  /** Loads an opened bundle. @throws Error from the runtime when the model does not run here. */
  static async load(bundle: Bundle, options: SessionOptions): Promise<StudentModel> {
    const heads = headsOf(bundle.description);
    return new StudentModel(bundle, await openPredictor(bundle.model, bundle.tokenizer, heads, options.threads));
  }

  /** Predicts any number of texts, in batches, and gives them back in order. An empty text is answered too. */
  predict(texts: readonly string[]): Promise<Prediction[]> {
    return this.#predictor.predict(texts);
  }

  /** How many tokens of a text the student reads. */
  countTokens(text: string): number {
    return this.#tokenizer.count(text);
  }

  release(): Promise<void> {
    return this.#predictor.release();
  }
}
