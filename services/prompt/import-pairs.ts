import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Pair, PairSchema, Purpose, Source, UsageSchema } from '@understudy/contract';
import { pairId } from '@understudy/task';
import type { StepContext } from './context.ts';
import { IMPORT_CHARACTERS, IMPORT_PAIRS } from './limits.ts';
import type { Run } from './run.ts';
import type { SampledPrompt } from './sample.ts';

/** Gives the pair store those of a slice that are finished pairs, as outcomes of this run. Twice is as good as once. */
export async function importPairs(
  { pairStore }: StepContext,
  { state: { task, taskDigest, runId } }: Run,
  prompts: readonly SampledPrompt[],
): Promise<void> {
  const pairs = prompts.flatMap((prompt) => pairOf(prompt) ?? []);
  for (const some of callsOf(pairs)) await pairStore.importPairs({ task, taskDigest, runId, pairs: some });
}

/** As many pairs in one call as the pair store takes, and a message holds. */
export function callsOf(pairs: readonly Pair[]): Pair[][] {
  const calls: Pair[][] = [];
  let characters = Number.POSITIVE_INFINITY;
  for (const pair of pairs) {
    const own = pair.inputJson.length + pair.text.length + pair.answerJson.length;
    const last = calls.at(-1);
    if (last === undefined || last.length === IMPORT_PAIRS || characters + own > IMPORT_CHARACTERS) {
      calls.push([pair]);
      characters = own;
    } else {
      last.push(pair);
      characters += own;
    }
  }
  return calls;
}

function pairOf({ pair, trainsOnly, ...prompt }: SampledPrompt): Pair | undefined {
  if (pair === undefined) return undefined;
  const { promptId, inputJson, weight, referenceJson, origin } = prompt;
  return create(PairSchema, {
    ...{ promptId, inputJson, weight },
    pairId: pairId(promptId, pair.fingerprint, 0),
    fingerprint: pair.fingerprint,
    text: pair.text,
    answerJson: pair.answerJson,
    purpose: Purpose.IMPORTED,
    source: trainsOnly ? Source.SELECTED : Source.RANDOM,
    origin: origin ?? '',
    // Whoever made the call paid for it.
    usage: create(UsageSchema, { inputTokens: BigInt(pair.inputTokens), outputTokens: BigInt(pair.outputTokens) }),
    ...(pair.answeredAtMs === undefined ? {} : { answeredAt: timestampFromMs(pair.answeredAtMs) }),
    ...(referenceJson === undefined ? {} : { referenceJson }),
  });
}
