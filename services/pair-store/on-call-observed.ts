import type { CallObserved } from '@understudy/contract';
import type { Event } from '@understudy/service/bus/settle';
import { TerminalError } from '@understudy/service/errors';
import type { PairStoreContext } from './context.ts';
import { recordCalls } from './workloads/record-calls.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Adds what passed through gateways to its workloads. */
export async function onCallObserved({ database }: PairStoreContext, events: readonly Event[]): Promise<void> {
  const calls = events.map(({ payload }) => checkedCall(payload as CallObserved));
  await recordCalls(database, calls);
}

function checkedCall(call: CallObserved): CallObserved {
  if (!UUID.test(call.callId)) {
    throw new TerminalError(`call_id: expected a UUID, came ${JSON.stringify(call.callId.slice(0, 100))}`);
  }
  for (const field of ['system', 'schemaJson', 'upstream', 'model', 'input', 'output', 'obstacle'] as const) {
    if (call[field]?.includes('\0')) throw new TerminalError(`${field}: expected text without the character U+0000`);
  }
  return call;
}
