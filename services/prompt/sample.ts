import { type CompiledTask, InputError, sha256Hex } from '@understudy/task';
import { MAX_BAD_RECORD_DETAILS, MAX_BAD_RECORDS, MAX_SAMPLE_BYTES } from './limits.ts';
import type { GoodRecord, RecordStream } from './sources/source.ts';

export interface SampledPrompt {
  promptId: string;
  inputJson: string;
  /** How often the population holds this input. */
  weight: number;
  /** Canonical answer JSON of the source's own truth. */
  referenceJson?: string;
}

export interface Sample {
  /** In random order, so that any prefix is a random sample too. */
  prompts: SampledPrompt[];
  /** Distinct inputs; exact when all of them were taken, else estimated. */
  population: number;
  /** Usable records beyond the first of each input. */
  duplicates: number;
  badRecords: number;
  badRecordDetails: string[];
}

/** The population cannot be drawn from: too much of it is bad, or nothing is left. */
export class SampleError extends Error {
  override readonly name = 'SampleError';
}

interface Candidate extends SampledPrompt {
  rank: string;
}

/**
 * A uniform random sample of at most `size` distinct inputs of a population that need not fit into memory.
 *
 * Every input has a rank, the SHA-256 of its prompt id, and the lowest ranks are taken (a bottom-k sketch): the sample
 * depends on the population alone, a larger sample contains the smaller, and asking again asks the same prompts. An
 * input that leaves the lowest ranks never comes back, so the weights of those taken are exact. Examples of the task's
 * prompt belong to no split and are left out.
 * @throws SampleError when more than MAX_BAD_RECORDS are bad, or nothing can be used
 */
export async function drawSample(compiled: CompiledTask, records: RecordStream, size: number): Promise<Sample> {
  const examples = new Set(compiled.task.examples.map((example) => compiled.promptId(example.input)));
  const lowest = new LowestRanks(size);
  const bad: string[] = [];
  let badRecords = 0;
  let usable = 0;
  for await (const record of records) {
    const candidate = 'fault' in record ? record.fault : candidateFrom(compiled, record);
    if (typeof candidate === 'string') {
      badRecords += 1;
      if (bad.length < MAX_BAD_RECORD_DETAILS) bad.push(`${record.position}: ${candidate}`);
      if (badRecords > MAX_BAD_RECORDS) {
        throw new SampleError(
          `expected at most ${MAX_BAD_RECORDS} bad records, got more; the first: ${bad.join('; ')}`,
        );
      }
    } else if (!examples.has(candidate.promptId)) {
      usable += 1;
      lowest.add(candidate);
    }
  }
  if (usable === 0) {
    const why = badRecords > 0 ? `${badRecords} are bad, the first: ${bad[0]}` : 'all are examples of the task';
    throw new SampleError(`expected records to ask the teacher, got none: ${why}`);
  }
  const population = Math.min(lowest.population(), usable);
  const prompts = lowest.take().map(({ rank: _, ...prompt }) => prompt);
  return { prompts, population, duplicates: usable - population, badRecords, badRecordDetails: bad };
}

/** A candidate, or what is wrong with the record. */
function candidateFrom(compiled: CompiledTask, record: GoodRecord): Candidate | string {
  try {
    const { promptId, inputJson, text } = compiled.renderPrompt(record.input);
    if (text.trim() === '') return 'expected something to ask, got empty fields';
    const candidate = { promptId, inputJson, weight: 1, rank: sha256Hex(promptId) };
    if (record.reference === undefined || record.reference === null || record.reference === '') return candidate;
    const reference = answerFrom(compiled, record.reference);
    if (reference === undefined) {
      return `expected a reference of ${referencesOf(compiled)}, got ${JSON.stringify(record.reference)}`;
    }
    return { ...candidate, referenceJson: reference };
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

const referencesOf = ({ output: { single } }: CompiledTask): string =>
  single
    ? `${single.labels.slice(0, 20).join(', ')} (map it under reference.map)`
    : 'the whole answer as the schema has it';

/** A reference is a whole output (as JSON or its text) or, where the output is one label, the bare label. */
function answerFrom(compiled: CompiledTask, reference: unknown): string | undefined {
  const { single } = compiled.output;
  if (single === undefined && typeof reference === 'string') return parsedAnswer(compiled, reference);
  const output = single && typeof reference !== 'object' ? { [single.field]: String(reference) } : reference;
  return parsedAnswer(compiled, JSON.stringify(output));
}

function parsedAnswer(compiled: CompiledTask, json: string): string | undefined {
  const parsed = compiled.parseAnswer(json);
  return parsed.ok ? parsed.answer : undefined;
}

/** The `size` candidates of lowest rank among all that were added, each once with its count. */
class LowestRanks {
  readonly #size: number;
  readonly #candidates = new Map<string, Candidate>();
  #bytes = 0;
  /** No candidate of this rank or above can be among the lowest any more. */
  #bar = 'g';
  /** True once a candidate was left out. */
  #partial = false;

  constructor(size: number) {
    this.#size = size;
  }

  add(candidate: Candidate): void {
    const known = this.#candidates.get(candidate.promptId);
    if (known !== undefined) {
      known.weight += 1;
      return;
    }
    if (candidate.rank >= this.#bar) {
      this.#partial = true;
      return;
    }
    this.#candidates.set(candidate.promptId, candidate);
    this.#bytes += candidate.inputJson.length;
    const full = this.#candidates.size >= 2 * this.#size;
    if (full || this.#bytes > MAX_SAMPLE_BYTES) this.#shrink();
  }

  take(): Candidate[] {
    this.#shrink();
    return [...this.#candidates.values()];
  }

  /**
   * Distinct inputs added: counted, or, where some were left out, estimated from the highest of the k lowest ranks as
   * (k − 1) / rank with ranks in (0, 1), to about 1/√k (Bar-Yossef et al., "Counting distinct elements in a data stream").
   */
  population(): number {
    this.#shrink();
    if (!this.#partial) return this.#candidates.size;
    const highest = Number.parseInt(this.#bar.slice(0, 13), 16) / 16 ** 13;
    return Math.max(this.#candidates.size, Math.round((this.#candidates.size - 1) / highest));
  }

  #shrink(): void {
    const sorted = [...this.#candidates.values()].sort((a, b) => (a.rank < b.rank ? -1 : 1));
    if (sorted.splice(this.#size).length > 0) this.#partial = true;
    this.#candidates.clear();
    this.#bytes = 0;
    for (const candidate of sorted) {
      this.#candidates.set(candidate.promptId, candidate);
      this.#bytes += candidate.inputJson.length;
    }
    if (this.#bytes > MAX_SAMPLE_BYTES) {
      throw new SampleError(
        `expected a sample of at most ${MAX_SAMPLE_BYTES} bytes, got more for budget.calls ${this.#size}; lower budget.calls`,
      );
    }
    const highest = sorted.at(-1);
    if (highest !== undefined && sorted.length === this.#size) this.#bar = highest.rank;
  }
}
