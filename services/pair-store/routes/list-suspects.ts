import { create } from '@bufbuild/protobuf';
import { type ListSuspectsRequest, type Suspect, SuspectSchema } from '@understudy/contract/pair-store';
import { invalidArgument, notFound } from '@understudy/service/rpc/status';
import type { PairStoreContext } from '../context.ts';
import { MAX_LISTED_SUSPECTS } from '../limits.ts';
import { newestSnapshot } from '../review/newest-snapshot.ts';
import { cappedOf, conflictsIn, foldsOf, type Reason } from '../review/suspects.ts';
import { decisionsOf } from '../store/decisions.ts';
import { findPairs } from '../store/find.ts';

/** What a person should look at in the newest snapshot. Read from the tables, so what was erased since is not among it. */
export async function* listSuspects({ database, blobs }: PairStoreContext, { task, foldsDigest }: ListSuspectsRequest) {
  if (foldsDigest !== '' && !/^[0-9a-f]{64}$/.test(foldsDigest)) {
    throw invalidArgument('folds_digest: expected 64 hex digits, or nothing');
  }
  const manifest = await newestSnapshot(database, blobs, task);
  if (!manifest) throw notFound(`task ${task} has no snapshot yet: its first run seals one`);
  const reasons = new Map<string, Reason>();
  const found = [
    ...cappedOf(manifest),
    ...(await conflictsIn(database, task, manifest.fingerprint)),
    ...(foldsDigest === '' ? [] : await foldsOf(blobs, foldsDigest)),
  ];
  // The first reason that a pair is suspected for is the strongest.
  for (const [pairId, reason] of found) if (!reasons.has(pairId)) reasons.set(pairId, reason);
  const decisions = new Map<string, Suspect['decision']>();
  for (const decision of (await decisionsOf(database, task)).toReversed()) decisions.set(decision.promptId, decision);
  const pairs = new Map((await findPairs(database, task, [...reasons.keys()])).map((pair) => [pair.pairId, pair]));
  const told = new Map<number, number>();
  for (const [pairId, reason] of reasons) {
    const pair = pairs.get(pairId);
    const ofKind = told.get(reason.suspicion) ?? 0;
    if (!pair || ofKind === MAX_LISTED_SUSPECTS) continue;
    told.set(reason.suspicion, ofKind + 1);
    const decision = decisions.get(pair.promptId);
    yield { suspect: create(SuspectSchema, { pair, ...reason, ...(decision ? { decision } : {}) }) };
  }
}
