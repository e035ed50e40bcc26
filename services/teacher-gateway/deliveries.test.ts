import { consumers } from '@understudy/contract';
import { expect, test } from 'vitest';
import { awayDelayMs } from './ask-teacher.ts';
import { config } from './config.ts';
import { MAX_OUTAGE_PATIENCE_MS } from './limits.ts';

/** Deliveries of a prompt until its teacher has been away for so long, if it never waits in hand: the most there can be. */
const deliveriesIn = (outageMs: number): number => {
  let deliveries = 1;
  for (let awayMs = 0; awayMs < outageMs; deliveries += 1) awayMs += awayDelayMs(awayMs, 0);
  return deliveries;
};

test('a prompt has deliveries enough for the longest outage that may be set, and for a dozen other reasons', () => {
  const patienceMs = config.shape.OUTAGE_PATIENCE_MS.parse(undefined);
  const { maxDeliver } = consumers['teacher-gateway-openai'];
  expect([deliveriesIn(patienceMs), deliveriesIn(MAX_OUTAGE_PATIENCE_MS)]).toEqual([28, 51]);
  expect(deliveriesIn(MAX_OUTAGE_PATIENCE_MS) + 12).toBeLessThanOrEqual(maxDeliver);
});
