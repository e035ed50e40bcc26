import { create } from '@bufbuild/protobuf';
import { Split } from '@understudy/contract';
import {
  type SplitPair,
  SplitPairSchema,
  type StreamPairsRequest,
  type StreamPairsResponse,
} from '@understudy/contract/pair-store';
import type { PairStoreContext } from '../context.ts';
import { isErased } from '../erasure/erase-table.ts';
import { ROW_GROUP_PAIRS, STREAM_MESSAGE_BYTES } from '../limits.ts';
import { openTable, type SnapshotRow } from '../snapshot/columns.ts';
import { tableBytes } from '../snapshot/table-of.ts';
import { pairOf } from '../store/stored-pair.ts';
import { manifestFor } from './get-snapshot.ts';

const SPLITS = { train: Split.TRAIN, dev: Split.DEV, test: Split.TEST };

/** Answered from the snapshot's file, never from the tables: what was sealed is what is trained and judged on. */
export async function* streamPairs(
  { blobs }: PairStoreContext,
  { snapshotDigest, split }: StreamPairsRequest,
): AsyncGenerator<Pick<StreamPairsResponse, 'pairs' | 'erased'>> {
  const manifest = await manifestFor(blobs, snapshotDigest);
  const { read } = await openTable(await tableBytes(blobs, manifest.pairs.digest));
  let pairs: SplitPair[] = [];
  let bytes = 0;
  let erased = 0;
  for (let from = 0; from < manifest.pairs.rows; from += ROW_GROUP_PAIRS) {
    for (const row of await read(from, Math.min(from + ROW_GROUP_PAIRS, manifest.pairs.rows))) {
      if (split !== Split.UNSPECIFIED && SPLITS[row.split] !== split) continue;
      if (isErased(row)) {
        erased += 1;
        continue;
      }
      pairs.push(splitPairOf(row));
      bytes += row.text.length + row.input_json.length;
      if (bytes < STREAM_MESSAGE_BYTES) continue;
      yield { pairs, erased };
      pairs = [];
      bytes = 0;
      erased = 0;
    }
  }
  if (pairs.length + erased > 0) yield { pairs, erased };
}

const splitPairOf = (row: SnapshotRow): SplitPair =>
  create(SplitPairSchema, {
    pair: pairOf(row),
    split: SPLITS[row.split],
    groupId: row.group_id,
    weight: row.weight,
  });
