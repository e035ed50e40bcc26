import { type Pair, Purpose } from '@understudy/contract';
import type { ImportPairsRequest } from '@understudy/contract/pair-store';
import { TerminalError } from '@understudy/service/errors';
import { invalidArgument } from '@understudy/service/rpc/status';
import { type CompiledTask, InputError } from '@understudy/task';
import type { PairStoreContext } from '../context.ts';
import { MAX_IMPORT_PAIRS } from '../limits.ts';
import { checkedPair } from '../on-teacher-answered.ts';
import { findPairs } from '../store/find.ts';
import { type Answer, record } from '../store/record.ts';

/** Keeps pairs that were made elsewhere. They come from outside, so all that can be computed again is. */
export async function importPairs(context: PairStoreContext, request: ImportPairsRequest) {
  const { task, taskDigest, runId } = request;
  if (request.pairs.length > MAX_IMPORT_PAIRS) {
    throw invalidArgument(
      `pairs: expected at most ${MAX_IMPORT_PAIRS}, came ${request.pairs.length}; send several times`,
    );
  }
  const known = await context.tasks.get(task, taskDigest);
  const pairs = request.pairs.map((pair) => ({ ...fittingPair(known.compiled, pair), purpose: Purpose.IMPORTED }));
  const ids = new Set(pairs.map((pair) => pair.pairId));
  if (ids.size === 0) return { kept: 0 };
  const before = await findPairs(context.database, task, [...ids]);
  const answers = pairs.map((pair): Answer => (runId === '' ? { pair } : { pair, asked: { runId, cached: true } }));
  const { mayBeComplete, forgotten } = await record(context.database, context.groups, known, answers, []);
  context.journal.recorded(task, answers.length, 0);
  if (mayBeComplete) context.wakeSealer();
  const refused = new Set(pairs.filter(({ promptId }) => forgotten.has(promptId)).map(({ pairId }) => pairId));
  return { kept: ids.size - before.length - refused.size };
}

/** @throws RpcError when the pair is not one of this task */
function fittingPair(compiled: CompiledTask, given: Pair): Pair {
  try {
    const pair = checkedPair(given);
    const prompt = compiled.renderPrompt(JSON.parse(pair.inputJson));
    const answer = compiled.parseAnswer(pair.answerJson);
    if (!answer.ok) throw new TerminalError(`answer_json: ${answer.message}`);
    if (prompt.promptId !== pair.promptId || prompt.text !== pair.text || answer.answer !== pair.answerJson) {
      throw new TerminalError('prompt_id, text and answer_json: expected what the task makes of them, came others');
    }
    return pair;
  } catch (error) {
    if (error instanceof InputError || error instanceof SyntaxError || error instanceof TerminalError) {
      throw invalidArgument(`pair ${given.pairId.slice(0, 64)}: ${error.message}`, error);
    }
    throw error;
  }
}
