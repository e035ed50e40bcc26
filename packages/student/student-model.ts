import type { SessionOptions } from '@understudy/graph';
import type { Bundle } from './bundle.ts';
import type { Description } from './description.ts';
import { openPredictor, type Predictor } from './predictor.ts';

/** Logits of one text by output field, in the order of the field's labels. */
export type Prediction = Readonly<Record<string, Float32Array>>;

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
    const { output } = bundle.description.heads[0] as Description['heads'][number];
    return new StudentModel(bundle, await openPredictor(bundle.model, bundle.tokenizer, output, options.threads));
  }

  /** Predicts any number of texts, in batches, and gives them back in order. An empty text is answered too. */
  async predict(texts: readonly string[]): Promise<Prediction[]> {
    const { field } = this.description.heads[0] as Description['heads'][number];
    const logits = await this.#predictor.predict(texts);
    return logits.map((values) => ({ [field]: values }));
  }

  /** How many tokens of a text the student reads. */
  countTokens(text: string): number {
    return this.#tokenizer.count(text);
  }

  release(): Promise<void> {
    return this.#predictor.release();
  }
}
