import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SourceReportSchema } from '@understudy/contract/prompt';
import { type CompiledTask, InputError, type LoggedPair, sha256Hex } from '@understudy/task';
import { MAX_BAD_RECORD_DETAILS, MAX_BAD_RECORDS, MAX_LOGGED_PAIRS } from './limits.ts';
import { LowestRanks, TooLargeSample } from './lowest-ranks.ts';
import { relevanceTo } from './relevance.ts';
import type { OpenSource } from './sources/read.ts';
import type { GoodRecord } from './sources/source.ts';

export interface SampledPrompt {
  promptId: string;
  inputJson: string;
  /** How often the population holds this input. */
  weight: number;
  /** Canonical answer JSON of the source's own truth. */
  referenceJson?: string;
  /** True for inputs that are no random sample of the population. */
  trainsOnly?: boolean;
  /** Erased since it was drawn: it keeps its place and its id, and is not asked. */
  forgotten?: true;
  /** Name of the first source that has it, as `originOf` gives it. */
  origin?: string;
  /** Its answer, where a log has it: nobody is asked. */
  pair?: Omit<LoggedPair, 'promptId' | 'inputJson'>;
}

export type SourceReport = MessageInitShape<typeof SourceReportSchema>;

export interface Sample {
  /** Finished pairs first; then what is to be asked, in random order, so that any prefix is a random sample too. */
  prompts: SampledPrompt[];
  /** How many of `prompts` are finished pairs. */
  pairs: number;
  /** Distinct inputs; exact when all of them were taken, else estimated. */
  population: number;
  /** Usable records beyond the first of each input. */
  duplicates: number;
  badRecords: number;
  badRecordDetails: string[];
  sources: SourceReport[];
}

/** The population cannot be drawn from: too much of it is bad, or nothing is left. */
export class SampleError extends Error {
  override readonly name = 'SampleError';
}

interface Candidate extends SampledPrompt {
  rank: string;
  text: string;
}

/**
 * A uniform random sample of at most `size` distinct inputs of a population that need not fit into memory, and with them
 * inputs that only train, and pairs that are finished.
 *
 * Every input has a rank, the SHA-256 of its prompt id, and the lowest ranks are taken (a bottom-k sketch): the sample
 * depends on the population alone, a larger sample contains the smaller, and asking again asks the same prompts. An
 * input that leaves the lowest ranks never comes back, so the weights of those taken are exact. Examples of the task's
 * prompt belong to no split and are left out.
 * @param forgotten ids of inputs that are counted and left out
 * @throws SampleError when more than MAX_BAD_RECORDS are bad, or nothing can be used
 */
export async function drawSample(
  compiled: CompiledTask,
  sources: AsyncIterable<OpenSource>,
  size: number,
  forgotten: ReadonlySet<string> = new Set(),
): Promise<Sample> {
  const examples = new Set(compiled.task.examples.map((example) => compiled.promptId(example.input)));
  const drawn: Drawn = {
    population: new LowestRanks(size),
    others: new LowestRanks(size),
    pairs: new LowestRanks(MAX_LOGGED_PAIRS),
    bad: [],
    untolerated: 0,
    usable: 0,
  };
  const reports: SourceReport[] = [];
  try {
    for await (const source of sources) reports.push(await readInto(drawn, compiled, source, { examples, forgotten }));
    return finished(drawn, reports, size);
  } catch (error) {
    if (error instanceof TooLargeSample) throw new SampleError(error.message, { cause: error });
    throw error;
  }
}

interface Drawn {
  population: LowestRanks<Candidate>;
  others: LowestRanks<Candidate>;
  pairs: LowestRanks<Candidate>;
  bad: string[];
  /** Bad records of sources that should have none. */
  untolerated: number;
  usable: number;
}

async function readInto(
  drawn: Drawn,
  compiled: CompiledTask,
  source: OpenSource,
  { examples, forgotten }: { examples: ReadonlySet<string>; forgotten: ReadonlySet<string> },
): Promise<SourceReport> {
  const belongs = source.relevantOnly ? relevanceTo(compiled) : undefined;
  const faults: Record<string, number> = {};
  const [counts, irrelevantDetails] = [
    { records: 0, badRecords: 0, irrelevant: 0, pairs: 0, forgotten: 0 },
    [] as string[],
  ];
  for await (const record of source.records) {
    counts.records += 1;
    const candidate = 'fault' in record ? record.fault : candidateFrom(compiled, record);
    if (typeof candidate === 'string') {
      counts.badRecords += 1;
      if ('reason' in record && record.reason) faults[record.reason] = (faults[record.reason] ?? 0) + 1;
      if (drawn.bad.length < MAX_BAD_RECORD_DETAILS) drawn.bad.push(`${record.position}: ${candidate}`);
      if (!source.tolerant) refuseTooMany(drawn);
      continue;
    }
    if (forgotten.has(candidate.promptId)) {
      counts.forgotten += 1;
      continue;
    }
    const irrelevant = belongs?.(candidate.text);
    if (irrelevant !== undefined) {
      counts.irrelevant += 1;
      if (irrelevantDetails.length < MAX_BAD_RECORD_DETAILS)
        irrelevantDetails.push(`${record.position}: ${irrelevant}`);
    } else if (!examples.has(candidate.promptId)) {
      drawn.usable += 1;
      if (candidate.pair !== undefined) counts.pairs += 1;
      const { origin, trainsOnly } = source;
      listFor(drawn, source, candidate).add({ ...candidate, origin, ...(trainsOnly ? { trainsOnly } : {}) });
    }
  }
  const { name, trainsOnly, possible } = source;
  const writing = source.writing?.();
  return { source: name, trainsOnly, possible, ...counts, irrelevantDetails, faults, ...(writing ? { writing } : {}) };
}

function listFor({ population, others, pairs }: Drawn, { trainsOnly }: OpenSource, { pair }: Candidate) {
  if (pair !== undefined) return pairs;
  return trainsOnly ? others : population;
}

function refuseTooMany(drawn: Drawn): void {
  drawn.untolerated += 1;
  if (drawn.untolerated <= MAX_BAD_RECORDS) return;
  throw new SampleError(
    `expected at most ${MAX_BAD_RECORDS} bad records, got more; the first: ${drawn.bad.join('; ')}`,
  );
}

/** An input that comes in several ways is asked once: not at all where its answer is known, else as part of the population. */
function finished(drawn: Drawn, sources: SourceReport[], size: number): Sample {
  const { population, others, pairs, bad, usable } = drawn;
  const badRecords = sources.reduce((sum, source) => sum + (source.badRecords ?? 0), 0);
  if (usable === 0) {
    const irrelevant = sources.reduce((sum, source) => sum + (source.irrelevant ?? 0), 0);
    const forgotten = sources.reduce((sum, source) => sum + (source.forgotten ?? 0), 0);
    const why =
      badRecords > 0
        ? `${badRecords} are bad, the first: ${bad[0]}`
        : irrelevant > 0
          ? `${irrelevant} do not belong to the task`
          : forgotten > 0
            ? `${forgotten} were forgotten`
            : 'all are examples of the task';
    throw new SampleError(`expected records to ask the teacher, got none: ${why}`);
  }
  const answered = pairs.take();
  const known = new Set(answered.map(({ promptId }) => promptId));
  const random = population.take().filter(({ promptId }) => !known.has(promptId));
  for (const { promptId } of random) known.add(promptId);
  const rest = others.take().filter(({ promptId }) => !known.has(promptId));
  const asked = [...random, ...rest].sort((a, b) => (a.rank < b.rank ? -1 : 1)).slice(0, size);
  const distinct = Math.min(population.population() + rest.length + answered.length, usable);
  const prompts = [...answered, ...asked].map(({ rank: _rank, text: _text, ...prompt }) => prompt);
  return {
    prompts,
    pairs: answered.length,
    population: distinct,
    duplicates: usable - distinct,
    badRecords,
    badRecordDetails: bad,
    sources,
  };
}

/** A candidate, or what is wrong with the record. */
function candidateFrom(compiled: CompiledTask, record: GoodRecord): Candidate | string {
  try {
    const { promptId, inputJson, text } = compiled.renderPrompt(record.input);
    if (text.trim() === '') return 'expected something to ask, got empty fields';
    const candidate: Candidate = { promptId, inputJson, text, weight: 1, rank: sha256Hex(promptId) };
    if (record.pair !== undefined) {
      const { promptId: _id, inputJson: _input, ...pair } = record.pair;
      return { ...candidate, pair };
    }
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
